#pragma once
// A folder in memory (/dev/shm) for what a launch's processes put beside each other: Open MPI's
// shared segments and sockets. It goes with the launch, however its processes end: the guard of the
// launch holds it. Any thread.

#include <string>

namespace lockstep::launcher {

/// Makes a folder that somebody is about to hold, and removes those that nobody holds any more.
/// Empty where /dev/shm cannot be written.
std::string make_scratch_folder();

/// While it exists the folder is held; with its end the folder goes, with all that is in it.
class ScratchFolder {
 public:
  /// An empty path holds nothing.
  explicit ScratchFolder(std::string path);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

 private:
  std::string path_;
  int descriptor_ = -1;
};

}  // namespace lockstep::launcher
