#include "comm/failure.hpp"

#include <utility>

namespace lockstep::comm {

bool FailureRecord::record(Failure failure) {
  const std::lock_guard lock(mutex_);
  if (failed()) return false;
  first_ = std::move(failure);
  failed_.store(true, std::memory_order_release);
  return true;
}

void FailureRecord::throw_if_failed() const {
  if (failed()) throw base::CommError(first_.reason, first_.code);
}

}  // namespace lockstep::comm
