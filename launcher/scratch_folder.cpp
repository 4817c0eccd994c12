#include "launcher/scratch_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/held_path.hpp"

namespace lockstep::launcher {
namespace {

constexpr char kParent[] = "/dev/shm";
constexpr char kPrefix[] = "lockstep-launch-";
/// A folder is made before it is held.
constexpr std::chrono::seconds kYoung{10};

}  // namespace

std::string make_scratch_folder() {
  // Those of launches whose guards were killed.
  for (const auto& path : base::paths_with_prefix(kParent, kPrefix)) {
    base::remove_unheld(path, kYoung);
  }
  auto path = std::string(kParent) + "/" + kPrefix + "XXXXXX";
  return ::mkdtemp(path.data()) == nullptr ? std::string() : path;
}

ScratchFolder::ScratchFolder(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor_ >= 0) base::hold_now(descriptor_, base::Hold::kAlone);
}

ScratchFolder::~ScratchFolder() {
  if (descriptor_ < 0) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  ::close(descriptor_);
}

}  // namespace lockstep::launcher
