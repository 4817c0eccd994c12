#include "base/held_path.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>

namespace lockstep::base {
namespace {

bool lock(int descriptor, Hold how, int flags) {
  int result = -1;
  do {
    result = ::flock(descriptor, (how == Hold::kAlone ? LOCK_EX : LOCK_SH) | flags);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

}  // namespace

bool hold(int descriptor, Hold how) { return lock(descriptor, how, 0); }
bool hold_now(int descriptor, Hold how) { return lock(descriptor, how, LOCK_NB); }

std::vector<std::string> paths_with_prefix(const std::string& folder, const std::string& prefix) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(prefix)) paths.push_back(entry.path());
  }
  return paths;
}

void remove_unheld(const std::string& path, std::chrono::seconds age) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return;
  struct stat status {};
  const bool may = ::fstat(descriptor, &status) == 0 && status.st_uid == ::geteuid() &&
                   (age.count() == 0 || status.st_mtime + age.count() < std::time(nullptr));
  std::error_code ignored;
  if (may && hold_now(descriptor, Hold::kAlone)) std::filesystem::remove_all(path, ignored);
  ::close(descriptor);
}

}  // namespace lockstep::base
