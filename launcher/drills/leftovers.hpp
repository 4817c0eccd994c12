#pragma once
// What a command may leave behind: processes that it started, and segments in /dev/shm. Asked by
// drills after each launch. Linux only; one thread.

#include <chrono>
#include <set>
#include <string>
#include <vector>

namespace lockstep::launcher {

/// From now on orphans among this process's descendants become its children, so that none escapes
/// `processes_left`.
void adopt_orphans();

/// Waits until this process has no descendants, at most `patience`; ends those that are left then
/// and returns them, as `process 123 (mpirun -n 2 ...)`. This process must have no children that
/// it wants to keep.
std::vector<std::string> processes_left(std::chrono::milliseconds patience);

/// Names in `directory`, which is /dev/shm outside of tests.
std::set<std::string> segments_in(const std::string& directory = "/dev/shm");

/// Of those that are there now and were not `before`: the ones of this user that no process maps
/// or holds open and that nobody removes within `patience`, as an mpirun of another job does whose
/// ranks have just ended.
std::vector<std::string> segments_left(const std::set<std::string>& before,
                                       std::chrono::milliseconds patience,
                                       const std::string& directory = "/dev/shm");

}  // namespace lockstep::launcher
