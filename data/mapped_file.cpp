#include "data/mapped_file.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

/// A mapping as the signal handler sees it. Never freed, but used again: the handler may look at
/// any time.
struct Watched {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};  ///< 0 = free
  std::atomic<bool> lost{false};       ///< a page was replaced by zeros
  Watched* next = nullptr;
};

// A signal handler gets no argument of ours, so what it needs belongs to the process.
std::atomic<Watched*> first_watched{nullptr};
std::mutex watching;  // of those who add and remove
struct sigaction former_action {};

void replace_lost_page(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (auto* one = first_watched.load(); one != nullptr; one = one->next) {
    if (address < one->begin || address >= one->end) continue;
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    auto* at = reinterpret_cast<void*>(address / page * page);  // NOLINT(performance-no-int-to-ptr)
    if (::mmap(at, page, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == at) {
      one->lost = true;
      errno = saved_errno;
      return;
    }
  }
  // Not ours: as if this handler were not there.
  if ((former_action.sa_flags & SA_SIGINFO) != 0 && former_action.sa_sigaction != nullptr) {
    former_action.sa_sigaction(signal, info, context);
  } else {
    ::sigaction(SIGBUS, &former_action, nullptr);
  }
  errno = saved_errno;
}

Watched* watch(const void* begin, std::size_t bytes) {
  const std::lock_guard lock(watching);
  static const bool kInstalled = [] {
    struct sigaction action {};
    action.sa_sigaction = replace_lost_page;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    return ::sigaction(SIGBUS, &action, &former_action) == 0;
  }();
  LOCKSTEP_EXPECT(kInstalled, "the handler for lost pages could not be installed");
  auto* one = first_watched.load();
  while (one != nullptr && one->end != 0) one = one->next;
  if (one == nullptr) {
    one = new Watched;
    one->next = first_watched;
    first_watched = one;
  }
  one->lost = false;
  one->begin = reinterpret_cast<std::uintptr_t>(begin);
  one->end = one->begin + bytes;
  return one;
}

}  // namespace

struct MappedFile::Mapping {
  void* begin = nullptr;
  std::size_t bytes = 0;
  Watched* watched = nullptr;

  ~Mapping() {
    if (watched != nullptr) {
      const std::lock_guard lock(watching);
      watched->end = 0;
    }
    if (bytes > 0) ::munmap(begin, bytes);
  }
};

MappedFile::MappedFile(const FileDescriptor& file)
    : file_(&file), mapping_(std::make_unique<Mapping>()) {
  if (file.size() == 0) return;
  mapping_->begin = file.map();
  mapping_->bytes = file.size();
  mapping_->watched = watch(mapping_->begin, mapping_->bytes);
}

MappedFile::~MappedFile() = default;
MappedFile::MappedFile(MappedFile&&) noexcept = default;
MappedFile& MappedFile::operator=(MappedFile&&) noexcept = default;

std::span<const std::byte> MappedFile::bytes() const {
  return {static_cast<const std::byte*>(mapping_->begin), mapping_->bytes};
}

bool MappedFile::holds(std::span<const std::byte> part) const {
  const auto all = bytes();
  return part.data() >= all.data() && part.data() < all.data() + all.size();
}

bool MappedFile::in_memory(std::span<const std::byte> part) const {
  return !holds(part) || file_->in_memory(static_cast<std::uint64_t>(part.data() - bytes().data()));
}

void MappedFile::bring_in(std::span<const std::byte> part) const {
  if (!holds(part)) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(part.data()) + part.size();
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

void MappedFile::require_whole() const {
  file_->require_size();
  if (mapping_->watched != nullptr && mapping_->watched->lost) {
    throw base::DataError("data file " + base::quote(file_->path()) +
                          " could not be read (the storage gave an error, or the file was cut "
                          "short meanwhile); check the storage, and copy or make the file again");
  }
}

}  // namespace lockstep::data::detail
