#include "launcher/scratch_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

namespace lockstep::launcher {
namespace {

constexpr char kParent[] = "/dev/shm";
constexpr char kPrefix[] = "lockstep-launch-";
/// A folder is made before it is held.
constexpr std::time_t kYoungSeconds = 10;

int open_folder(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void remove_folder(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

/// Those of launches whose guards were killed.
void remove_abandoned() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kParent, ignored)) {
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    const auto path = entry.path().string();
    const int descriptor = open_folder(path);
    if (descriptor < 0) continue;
    struct stat status {};
    const bool old_one = ::fstat(descriptor, &status) == 0 && status.st_uid == ::geteuid() &&
                         status.st_mtime + kYoungSeconds < std::time(nullptr);
    if (old_one && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) remove_folder(path);
    ::close(descriptor);
  }
}

}  // namespace

std::string make_scratch_folder() {
  remove_abandoned();
  auto path = std::string(kParent) + "/" + kPrefix + "XXXXXX";
  return ::mkdtemp(path.data()) == nullptr ? std::string() : path;
}

ScratchFolder::ScratchFolder(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  descriptor_ = open_folder(path_);
  if (descriptor_ >= 0) ::flock(descriptor_, LOCK_EX | LOCK_NB);
}

ScratchFolder::~ScratchFolder() {
  if (descriptor_ < 0) return;
  remove_folder(path_);
  ::close(descriptor_);
}

}  // namespace lockstep::launcher
