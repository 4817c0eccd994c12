#pragma once
// Memory that processes of this host share without a name in any file system (memfd_create(2)):
// its owner holds a descriptor, others open it through the owner's entry in /proc. Nothing can be
// left behind, whoever is killed; it lives as long as one process holds it.

#include <cstddef>
#include <optional>
#include <string>

namespace lockstep::launcher {

class MemoryFile {
 public:
  /// An empty one. `name` is what `find` asks for. Throws EnvironmentError when the kernel refuses.
  explicit MemoryFile(const std::string& name);
  /// Another process's file by its address; nothing when there is no file of that name there, as on
  /// another host. Opens nothing else: the same path may be anything there.
  static std::optional<MemoryFile> find(const std::string& address, const std::string& name);
  ~MemoryFile();
  MemoryFile(MemoryFile&& other) noexcept;
  MemoryFile& operator=(MemoryFile&&) = delete;

  int descriptor() const { return descriptor_; }
  std::size_t size() const;
  /// Its path for other processes of this host, while this one lives.
  std::string address() const;

 private:
  explicit MemoryFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

/// Whether `address` leads to a memory file called `name` on this host.
bool is_memory_file(const std::string& address, const std::string& name);

}  // namespace lockstep::launcher
