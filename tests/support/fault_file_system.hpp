#pragma once
// A file system in memory that breaks on purpose: power cuts that drop what was not synced, failing
// calls, a full disk, torn writes, flipped bytes. For tests of whatever takes a base::FileSystem.
// Paths start at '/'. One thread; the object owns all files.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::tests {

/// The power is gone. No base::Error, so that code under test cannot take it for a failure that it
/// may handle; every call after it throws it again until `restart`.
struct PowerCut : std::runtime_error {
  PowerCut() : std::runtime_error("the power is gone") {}
};

/// What a power cut leaves of what was not synced.
enum class Unsynced {
  kLost,     ///< nothing: as it was at the last sync
  kKept,     ///< everything: as after a killed process
  kPartial,  ///< of each directory the first few changes, of each file some of its sectors
};

class FaultFileSystem final : public base::FileSystem {
 public:
  FaultFileSystem();
  ~FaultFileSystem() override;

  /// Calls so far that change something; reading does not count.
  int changes() const { return changes_; }
  /// The change with number `n` (the next one is changes() + 1) does not happen: the power is cut.
  /// Of a write the first half happens.
  void cut_power_at(int n) { power_cut_at_ = n; }
  /// The change with number `n` fails once with `error_number` and changes nothing.
  void fail_at(int n, int error_number);
  /// After `bytes` more bytes the disk is full: what fits is written, then ENOSPC.
  void fill_after(std::uint64_t bytes) { room_ = bytes; }
  void make_room() { room_.reset(); }
  /// What free_bytes says.
  void set_free_bytes(std::uint64_t bytes) { free_bytes_ = bytes; }

  /// The machine is on again: unsynced data is as `unsynced` says, and no more faults are armed.
  /// `seed` decides for kPartial.
  void restart(Unsynced unsynced, std::uint64_t seed = 0);

  /// Inverts the lowest bit of one byte on the disk.
  void flip(const std::string& path, std::uint64_t offset);
  /// Writes a file as if it had always been there.
  void put(const std::string& path, const std::string& text);
  /// Whether both are names of one file.
  bool are_one(const std::string& path, const std::string& other) {
    return find(path) != nullptr && find(path) == find(other);
  }
  /// Paths of all files, sorted.
  std::vector<std::string> all_files();

  using base::FileSystem::exists;
  std::unique_ptr<base::WritableFile> open(const std::string& path, base::OpenMode mode) override;
  void read_at(const std::string& path, std::uint64_t offset, std::span<std::byte> bytes) override;
  std::optional<std::uint64_t> file_size(const std::string& path) override;
  bool is_directory(const std::string& path) override;
  std::vector<std::string> list(const std::string& path) override;
  void make_directories(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void link(const std::string& from, const std::string& to) override;
  void remove_all(const std::string& path) override;
  void sync_directory(const std::string& path) override;
  void replace_link(const std::string& target, const std::string& path) override;
  std::uint64_t free_bytes(const std::string& path) override;

 private:
  struct Node;
  class File;
  using NodePtr = std::shared_ptr<Node>;  // shared: an open file outlives its name

  NodePtr find(const std::string& path, int links_left = 8);
  /// The directory that `path` lies in; throws IoError when there is none.
  NodePtr parent(const std::string& path);
  /// Counts a change and lets the armed fault happen. `on_cut` runs before a power cut.
  void change(const std::string& what, const std::string& path,
              const std::function<void()>& on_cut = {});
  void require_power() const;
  /// How many of `bytes` more bytes fit.
  std::uint64_t take_room(std::uint64_t bytes);
  void restart_node(Node& node, Unsynced unsynced, std::mt19937_64& random);
  void collect(const Node& node, const std::string& path, std::vector<std::string>& out) const;

  NodePtr root_;
  int changes_ = 0;
  int power_cut_at_ = 0;
  int fail_at_ = 0;
  int fail_number_ = 0;
  bool power_ = true;
  std::optional<std::uint64_t> room_;
  std::uint64_t free_bytes_ = std::uint64_t{1} << 40;
};

}  // namespace lockstep::tests
