#include "comm/node_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::comm {
namespace {

constexpr std::size_t kPageBytes = 4096;

std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Owns an open file.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

base::EnvironmentError system_error(const std::string& call, std::string_view what) {
  return base::EnvironmentError(call + " for node memory " + base::quote(what) + " failed (" +
                                std::strerror(errno) + "); see 'lockstep doctor'");
}

/// /dev/shm has less than `bytes` free. Says how large it should be.
base::EnvironmentError no_room(std::size_t bytes, std::string_view what) {
  struct statvfs room {};
  ::statvfs("/dev/shm", &room);
  const std::uint64_t block = room.f_frsize;
  const std::uint64_t free = room.f_bavail * block;
  const std::uint64_t total = room.f_blocks * block;
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  const auto wanted_gib = std::to_string((total - free + bytes) / kGiB + 1);
  return base::EnvironmentError(
      "node memory " + base::quote(what) + " needs " + base::format_bytes(bytes) +
      " and /dev/shm has " + base::format_bytes(free) + " free of " + base::format_bytes(total) +
      " (the ranks of a node share memory there); run 'mount -o remount,size=" + wanted_gib +
      "G /dev/shm', or start the container with '--shm-size=" + wanted_gib + "g'");
}

bool has_room(std::size_t bytes) {
  struct statvfs room {};
  return ::statvfs("/dev/shm", &room) == 0 && std::uint64_t{room.f_bavail} * room.f_frsize >= bytes;
}

/// A name that no other process of this machine has taken or will take.
std::string fresh_name() {
  std::random_device random;
  return "/lockstep-" + std::to_string(::getpid()) + "-" + std::to_string(random()) + "-" +
         std::to_string(random());
}

/// Allocates this rank's part now, so that too little memory is an error here and not SIGBUS later,
/// and so that its pages lie on the memory of the cores that use them.
void allocate_part(const Communicator& node, int descriptor, std::size_t bytes,
                   std::string_view what) {
  const auto ranks = static_cast<std::size_t>(node.size());
  const auto part = round_up(bytes / ranks + 1, kPageBytes);
  const auto begin = std::min(part * static_cast<std::size_t>(node.rank()), bytes);
  const auto end = std::min(begin + part, bytes);
  int result = 0;
  do {
    if (begin == end) return;
    result =
        ::posix_fallocate(descriptor, static_cast<off_t>(begin), static_cast<off_t>(end - begin));
  } while (result == EINTR);
  if (result == ENOSPC) throw no_room(bytes, what);
  if (result != 0) {
    errno = result;
    throw system_error("posix_fallocate", what);
  }
}

/// Runs `action` on this rank and throws the first rank's EnvironmentError on all ranks when any
/// of them threw one. Collective.
template <class Action>
void all_or_none(Communicator& node, std::string_view what, Action&& action) {
  std::string problem;
  try {
    action();
  } catch (const base::EnvironmentError& error) {
    problem = error.what();
  }
  for (const auto& text : node.all_gather_texts(problem, what)) {
    if (!text.empty()) throw base::EnvironmentError(text);
  }
}

}  // namespace

/// Owns one mapping of the segment.
class NodeMemory::Mapping {
 public:
  Mapping(int descriptor, std::size_t bytes, std::string_view what) : bytes_(bytes) {
    const int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (address == MAP_FAILED) throw system_error("mmap", what);
    address_ = static_cast<std::byte*>(address);
    // A wish: without huge pages all works, a little slower.
    ::madvise(address_, bytes_, MADV_HUGEPAGE);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(address_, bytes_); }

  std::byte* address() const { return address_; }

  static std::shared_ptr<Mapping> among_threads(Communicator& node, std::size_t bytes,
                                                std::string_view what);
  static std::shared_ptr<Mapping> among_processes(Communicator& node, std::size_t bytes,
                                                  std::string_view what);

 private:
  std::byte* address_ = nullptr;
  std::size_t bytes_;
};

std::shared_ptr<NodeMemory::Mapping> NodeMemory::Mapping::among_threads(Communicator& node,
                                                                        std::size_t bytes,
                                                                        std::string_view what) {
  std::shared_ptr<Mapping> mapping;
  all_or_none(node, what, [&] {
    if (node.rank() == 0) mapping = std::make_shared<Mapping>(-1, bytes, what);
  });
  auto* owner = &mapping;
  node.broadcast(std::as_writable_bytes(std::span(&owner, 1)), 0, what);
  auto mine = *owner;
  node.barrier(what);  // rank 0's pointer lives until everyone has copied it
  return mine;
}

std::shared_ptr<NodeMemory::Mapping> NodeMemory::Mapping::among_processes(Communicator& node,
                                                                          std::size_t bytes,
                                                                          std::string_view what) {
  std::string name;
  std::optional<Descriptor> file;
  std::shared_ptr<Mapping> mapping;
  // Ends the segment's name on every way out of here.
  struct Unlink {
    const std::string& name;
    bool owner = false;
    ~Unlink() {
      if (owner) ::shm_unlink(name.c_str());
    }
  } unlink{.name = name};

  all_or_none(node, what, [&] {
    if (node.rank() != 0) return;
    if (!has_room(bytes)) throw no_room(bytes, what);
    name = fresh_name();
    file.emplace(::shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    if (file->number() < 0) throw system_error("shm_open", what);
    unlink.owner = true;
    if (::ftruncate(file->number(), static_cast<off_t>(bytes)) != 0) {
      throw system_error("ftruncate", what);
    }
  });
  const auto shared_name = node.all_gather_texts(name, what)[0];
  all_or_none(node, what, [&] {
    if (node.rank() != 0) {
      file.emplace(::shm_open(shared_name.c_str(), O_RDWR | O_CLOEXEC, 0));
      if (file->number() < 0) throw system_error("shm_open", what);
    }
    allocate_part(node, file->number(), bytes, what);
    mapping = std::make_shared<Mapping>(file->number(), bytes, what);
  });
  return mapping;
}

std::shared_ptr<NodeMemory::Mapping> NodeMemory::make(Communicator& node, std::size_t bytes,
                                                      std::string_view what) {
  if (node.size() == 1) return std::make_shared<Mapping>(-1, bytes, what);
  const std::int64_t pid = ::getpid();
  std::vector<std::int64_t> pids(static_cast<std::size_t>(node.size()));
  node.all_gather(std::as_bytes(std::span(&pid, 1)), std::as_writable_bytes(std::span(pids)), what);
  const auto processes = std::set(pids.begin(), pids.end()).size();
  if (processes == 1) return Mapping::among_threads(node, bytes, what);
  LOCKSTEP_EXPECT(processes == pids.size(), "a node's ranks are either threads or processes");
  return Mapping::among_processes(node, bytes, what);
}

/// Maps the file on every rank; the first one sees to its length.
void NodeMemory::use_kept(Communicator& node, std::size_t bytes, std::string_view what,
                          const std::string& kept) {
  std::optional<Descriptor> file;
  std::string survived;
  all_or_none(node, what, [&] {
    file.emplace(::open(kept.c_str(), O_RDWR | O_CLOEXEC));
    if (file->number() < 0) throw system_error("open", what);
    if (node.rank() != 0) return;
    struct stat status {};
    if (::fstat(file->number(), &status) != 0) throw system_error("fstat", what);
    survived = status.st_size > 0 ? "yes" : "no";
    if (::ftruncate(file->number(), static_cast<off_t>(bytes)) != 0) {
      throw system_error("ftruncate", what);
    }
  });
  survived_ = node.all_gather_texts(survived, what)[0] == "yes";
  all_or_none(node, what, [&] {
    allocate_part(node, file->number(), bytes, what);
    kept_ = std::make_shared<Mapping>(file->number(), bytes, what);
  });
  bytes_ = {kept_->address(), bytes};
}

NodeMemory::NodeMemory(Communicator& node, std::size_t bytes, std::string_view what,
                       const std::string& kept) {
  const auto header = round_up(NodeBarrier::bytes_needed(node.size()), kPageBytes);
  LOCKSTEP_EXPECT(bytes <= std::size_t{PTRDIFF_MAX} - header, "node memory larger than memory");
  const auto kept_path = node.all_gather_texts(kept, what)[0];
  if (kept_path.empty()) {
    mapping_ = make(node, header + round_up(bytes, kPageBytes), what);
    bytes_ = {mapping_->address() + header, bytes};
  } else {
    mapping_ = make(node, header, what);
    use_kept(node, round_up(bytes, kPageBytes), what, kept_path);
  }
  barrier_.emplace(node, mapping_->address());
  node.barrier(what);
}

NodeMemory::~NodeMemory() = default;

bool NodeMemory::has_room_in(const std::string& kept, std::size_t bytes) {
  struct statvfs room {};
  struct stat status {};
  if (::statvfs(kept.c_str(), &room) != 0 || ::stat(kept.c_str(), &status) != 0) return false;
  if (room.f_blocks == 0) return true;  // a file without a name: of no limited file system
  constexpr std::uint64_t kStatBlock = 512;
  const auto there = static_cast<std::uint64_t>(status.st_blocks) * kStatBlock;
  return std::uint64_t{room.f_bavail} * room.f_frsize + there >= bytes;
}

}  // namespace lockstep::comm
