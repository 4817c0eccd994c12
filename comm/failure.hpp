#pragma once
// The first reason why a group of ranks failed. One FailureRecord is shared by a communicator and
// everything split from it, so that a wait on any of them ends with the same reason.
// Every method may be called from any thread.

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/wait_note.hpp"

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

  /// Where this rank shows what it waits for once a wait gets long; must outlive every wait.
  void show_waits_in(base::WaitNote& note) { note_.store(&note, std::memory_order_release); }
  /// Null when nobody wants to know.
  base::WaitNote* wait_note() const { return note_.load(std::memory_order_acquire); }

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_{false};
  Failure first_;
  std::atomic<base::WaitNote*> note_{nullptr};
};

/// A long wait of this rank, shown from construction to destruction.
class ShownWait {
 public:
  ShownWait(const FailureRecord& record, std::string_view operation) : note_(record.wait_note()) {
    if (note_ != nullptr) note_->waits(operation);
  }
  ~ShownWait() {
    if (note_ != nullptr) note_->goes_on();
  }
  ShownWait(const ShownWait&) = delete;
  ShownWait& operator=(const ShownWait&) = delete;

 private:
  base::WaitNote* note_;
};

}  // namespace lockstep::comm
