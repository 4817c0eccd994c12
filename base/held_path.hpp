#pragma once
// Files and folders that processes hold by flock(2), so that what nobody holds any more can be told
// and removed. A hold ends with its descriptor, however its process ends. Any thread.

#include <chrono>
#include <string>
#include <vector>

namespace lockstep::base {

enum class Hold { kShared, kAlone };

/// Waits until it holds what `descriptor` is open on; false when that cannot be.
bool hold(int descriptor, Hold how);
/// The same, but false at once where somebody else is in the way.
bool hold_now(int descriptor, Hold how);

/// What lies in `folder` and has a name that begins with `prefix`, as paths.
std::vector<std::string> paths_with_prefix(const std::string& folder, const std::string& prefix);

/// Removes a file or folder of this user that nobody holds and that was not written for longer than
/// `age`. Leaves links alone.
void remove_unheld(const std::string& path, std::chrono::seconds age);

}  // namespace lockstep::base
