#include "tests/support/fault_file_system.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::tests {
namespace {

constexpr std::size_t kSector = 512;

[[noreturn]] void fail(const std::string& what, const std::string& path, int number) {
  throw base::IoError(
      what + " " + base::quote(path) + " failed (" + std::strerror(number) + "); this is a test",
      number);
}

std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  for (auto& part : base::split(path, '/')) {
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
  }
  return parts;
}

std::string last_part(const std::string& path) { return parts_of(path).back(); }

}  // namespace

struct FaultFileSystem::Node {
  bool directory = false;
  std::string link;  ///< target of a symbolic link, else empty
  std::string data;
  std::string synced_data;
  std::map<std::string, NodePtr> names;
  std::vector<std::map<std::string, NodePtr>> history{{}};  ///< synced, then after each change

  void note_change() { history.push_back(names); }
};

class FaultFileSystem::File final : public base::WritableFile {
 public:
  File(FaultFileSystem& files, NodePtr node, std::string path)
      : files_(files), node_(std::move(node)), path_(std::move(path)) {}

  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    const auto put = [&](std::uint64_t count) {
      if (node_->data.size() < offset + count) node_->data.resize(offset + count, '\0');
      std::memcpy(node_->data.data() + offset, bytes.data(), count);
    };
    files_.change("writing", path_, [&] { put(bytes.size() / 2); });
    const auto fits = files_.take_room(bytes.size());
    put(fits);
    if (fits < bytes.size()) fail("writing", path_, ENOSPC);
  }
  void append(std::span<const std::byte> bytes) override { write_at(node_->data.size(), bytes); }
  void sync() override {
    files_.change("syncing", path_);
    node_->synced_data = node_->data;
  }
  void truncate(std::uint64_t size) override {
    files_.change("truncating", path_);
    node_->data.resize(size, '\0');
  }

 private:
  FaultFileSystem& files_;
  NodePtr node_;
  std::string path_;
};

FaultFileSystem::FaultFileSystem() : root_(std::make_shared<Node>()) { root_->directory = true; }
FaultFileSystem::~FaultFileSystem() = default;

void FaultFileSystem::fail_at(int n, int error_number) {
  fail_at_ = n;
  fail_number_ = error_number;
}

void FaultFileSystem::require_power() const {
  if (!power_) throw PowerCut();
}

void FaultFileSystem::change(const std::string& what, const std::string& path,
                             const std::function<void()>& on_cut) {
  require_power();
  ++changes_;
  if (changes_ == power_cut_at_) {
    if (on_cut) on_cut();
    power_ = false;
    throw PowerCut();
  }
  if (changes_ == fail_at_) fail(what, path, fail_number_);
}

std::uint64_t FaultFileSystem::take_room(std::uint64_t bytes) {
  if (!room_) return bytes;
  const auto fits = std::min(bytes, *room_);
  *room_ -= fits;
  return fits;
}

FaultFileSystem::NodePtr FaultFileSystem::find(const std::string& path, int links_left) {
  auto node = root_;
  std::string walked;
  for (const auto& part : parts_of(path)) {
    if (!node || !node->directory) return nullptr;
    const auto found = node->names.find(part);
    node = found == node->names.end() ? nullptr : found->second;
    if (node && !node->link.empty()) {
      node = links_left == 0 ? nullptr
                             : find(base::join_path(walked + "/", node->link), links_left - 1);
    }
    walked += "/" + part;
  }
  return node;
}

FaultFileSystem::NodePtr FaultFileSystem::parent(const std::string& path) {
  auto node = find(base::parent_path(path));
  if (!node || !node->directory) fail("looking for the folder of", path, ENOENT);
  return node;
}

std::unique_ptr<base::WritableFile> FaultFileSystem::open(const std::string& path,
                                                          base::OpenMode mode) {
  require_power();
  auto node = find(path);
  if (node && node->directory) fail("opening", path, EISDIR);
  if (!node) {
    if (mode == base::OpenMode::kExisting) fail("opening", path, ENOENT);
    const auto folder = parent(path);
    change("making", path);
    node = std::make_shared<Node>();
    folder->names[last_part(path)] = node;
    folder->note_change();
  } else if (mode == base::OpenMode::kCreate) {
    change("emptying", path);
    node->data.clear();
  }
  return std::make_unique<File>(*this, node, path);
}

void FaultFileSystem::read_at(const std::string& path, std::uint64_t offset,
                              std::span<std::byte> bytes) {
  require_power();
  const auto node = find(path);
  if (!node || node->directory) fail("opening", path, node ? EISDIR : ENOENT);
  const auto size = node->data.size();
  if (offset > size || bytes.size() > size - offset) fail("reading", path, EIO);
  std::memcpy(bytes.data(), node->data.data() + offset, bytes.size());
}

std::optional<std::uint64_t> FaultFileSystem::file_size(const std::string& path) {
  require_power();
  const auto node = find(path);
  if (!node || node->directory) return std::nullopt;
  return node->data.size();
}

bool FaultFileSystem::is_directory(const std::string& path) {
  require_power();
  const auto node = find(path);
  return node && node->directory;
}

std::vector<std::string> FaultFileSystem::list(const std::string& path) {
  require_power();
  std::vector<std::string> names;
  if (const auto node = find(path)) {
    for (const auto& [name, child] : node->names) names.push_back(name);
  }
  return names;
}

void FaultFileSystem::make_directories(const std::string& path) {
  require_power();
  auto node = root_;
  for (const auto& part : parts_of(path)) {
    auto& child = node->names[part];
    if (!child) {
      node->names.erase(part);
      change("making", path);
      auto fresh = std::make_shared<Node>();
      fresh->directory = true;
      node->names[part] = fresh;
      node->note_change();
      node = fresh;
      continue;
    }
    if (!child->directory) fail("making", path, ENOTDIR);
    node = child;
  }
}

void FaultFileSystem::rename(const std::string& from, const std::string& to) {
  require_power();
  const auto source = parent(from);
  const auto found = source->names.find(last_part(from));
  if (found == source->names.end()) fail("renaming", from, ENOENT);
  const auto node = found->second;
  const auto target = parent(to);
  if (const auto old = target->names.find(last_part(to)); old != target->names.end()) {
    if (node->directory && !old->second->names.empty()) fail("renaming to", to, ENOTEMPTY);
    if (node->directory != old->second->directory) fail("renaming to", to, EEXIST);
  }
  change("renaming to", to);
  source->names.erase(last_part(from));
  target->names[last_part(to)] = node;
  source->note_change();
  if (target != source) target->note_change();
}

void FaultFileSystem::link(const std::string& from, const std::string& to) {
  require_power();
  const auto node = find(from);
  if (!node) fail("linking", from, ENOENT);
  const auto target = parent(to);
  if (target->names.contains(last_part(to))) fail("linking to", to, EEXIST);
  change("linking to", to);
  target->names[last_part(to)] = node;
  target->note_change();
}

void FaultFileSystem::remove_all(const std::string& path) {
  require_power();
  const auto folder = find(base::parent_path(path));
  if (!folder) return;
  const auto found = folder->names.find(last_part(path));
  if (found == folder->names.end()) return;
  if (found->second->directory) {
    // One name at a time, as the real one goes: a cut in between leaves half a tree.
    for (const auto& name : list(path)) remove_all(base::join_path(path, name));
  }
  change("removing", path);
  folder->names.erase(last_part(path));
  folder->note_change();
}

void FaultFileSystem::sync_directory(const std::string& path) {
  require_power();
  const auto node = find(path);
  if (!node || !node->directory) fail("syncing", path, ENOENT);
  change("syncing", path);
  node->history = {node->names};
}

void FaultFileSystem::replace_link(const std::string& target, const std::string& path) {
  require_power();
  const auto folder = parent(path);
  change("linking", path);
  const auto node = std::make_shared<Node>();
  node->link = target;
  folder->names[last_part(path)] = node;
  folder->note_change();
}

std::uint64_t FaultFileSystem::free_bytes(const std::string& path) {
  require_power();
  if (!find(path)) fail("looking at", path, ENOENT);
  return free_bytes_;
}

void FaultFileSystem::restart(Unsynced unsynced, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  power_ = true;
  power_cut_at_ = 0;
  fail_at_ = 0;
  room_.reset();
  restart_node(*root_, unsynced, random);
}

void FaultFileSystem::restart_node(Node& node, Unsynced unsynced, std::mt19937_64& random) {
  if (!node.directory) {
    if (unsynced == Unsynced::kLost) node.data = node.synced_data;
    if (unsynced == Unsynced::kPartial) {
      auto mixed = random() % 2 == 0 ? node.data : node.synced_data;
      for (std::size_t at = 0; at < mixed.size(); at += kSector) {
        const auto& source = random() % 2 == 0 ? node.data : node.synced_data;
        const auto count = std::min(kSector, mixed.size() - at);
        for (std::size_t i = at; i < at + count; ++i)
          mixed[i] = i < source.size() ? source[i] : '\0';
      }
      node.data = mixed;
    }
    node.synced_data = node.data;
    return;
  }
  auto kept = node.history.size() - 1;
  if (unsynced == Unsynced::kLost) kept = 0;
  if (unsynced == Unsynced::kPartial) kept = random() % node.history.size();
  node.names = node.history[kept];
  node.history = {node.names};
  for (const auto& [name, child] : node.names) restart_node(*child, unsynced, random);
}

void FaultFileSystem::flip(const std::string& path, std::uint64_t offset) {
  const auto node = find(path);
  if (!node || offset >= node->data.size()) throw std::out_of_range("no such byte in " + path);
  node->data[offset] = static_cast<char>(node->data[offset] ^ 1);
  node->synced_data = node->data;
}

void FaultFileSystem::put(const std::string& path, const std::string& text) {
  make_directories(base::parent_path(path));
  const auto folder = parent(path);
  const auto node = std::make_shared<Node>();
  node->data = text;
  node->synced_data = text;
  folder->names[last_part(path)] = node;
  for (auto above = base::parent_path(path);; above = base::parent_path(above)) {
    const auto directory = find(above);
    directory->history = {directory->names};
    if (directory == root_) break;
  }
}

std::vector<std::string> FaultFileSystem::all_files() {
  std::vector<std::string> paths;
  collect(*root_, "/", paths);
  return paths;
}

void FaultFileSystem::collect(const Node& node, const std::string& path,
                              std::vector<std::string>& out) const {
  if (!node.directory) out.push_back(path);
  for (const auto& [name, child] : node.names) collect(*child, base::join_path(path, name), out);
}

}  // namespace lockstep::tests
