#pragma once
// The first reason why a group of ranks failed. One FailureRecord is shared by a communicator and
// everything split from it, so that a wait on any of them ends with the same reason.
// Every method may be called from any thread.

#include <atomic>
#include <mutex>
#include <string>

#include "base/error.hpp"

namespace lockstep::comm {

struct Failure {
  int rank = 0;  ///< in the group that everything was split from
  std::string reason;
  base::ExitCode code = base::ExitCode::kFailed;
};

class FailureRecord {
 public:
  /// Keeps `failure` when it is the first one; says whether it was.
  bool record(Failure failure);
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  /// Only after `failed()`.
  const Failure& first() const { return first_; }
  /// Throws CommError with the first reason and its exit code when there is one.
  void throw_if_failed() const;

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_{false};
  Failure first_;
};

}  // namespace lockstep::comm
