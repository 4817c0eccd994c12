#include "comm/device_stopwatch.hpp"

#include <utility>

namespace lockstep::comm {

DeviceStopwatch::~DeviceStopwatch() {
  for (const auto& part : parts_) {
    device_.end_event(part.begin);
    device_.end_event(part.end);
  }
}

void DeviceStopwatch::begin(DeviceStream stream) {
  if (used_ == parts_.size()) {
    parts_.push_back({.begin = device_.make_timer(), .end = device_.make_timer()});
  }
  device_.record(parts_[used_].begin, stream);
}

void DeviceStopwatch::end(DeviceStream stream) { device_.record(parts_[used_++].end, stream); }

double DeviceStopwatch::take() {
  double seconds = 0;
  for (std::size_t i = 0; i < used_; ++i) {
    seconds += device_.seconds_between(parts_[i].begin, parts_[i].end);
  }
  // A part that has begun and not ended stays the next one.
  if (used_ < parts_.size()) std::swap(parts_[0], parts_[used_]);
  used_ = 0;
  return seconds;
}

}  // namespace lockstep::comm
