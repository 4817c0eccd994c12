#pragma once
// How long a device was busy with parts of a stream, by events in it: nobody waits for the answer.
// Used by NcclGroup and DeviceState. One thread.

#include <vector>

#include "comm/device_api.hpp"

namespace lockstep::comm {

class DeviceStopwatch {
 public:
  /// `device` must outlive this.
  explicit DeviceStopwatch(DeviceApi& device) : device_(device) {}
  ~DeviceStopwatch();
  DeviceStopwatch(const DeviceStopwatch&) = delete;
  DeviceStopwatch& operator=(const DeviceStopwatch&) = delete;

  /// A part of `stream` begins or ends where it is now.
  void begin(DeviceStream stream);
  void end(DeviceStream stream);
  /// Seconds of all parts that have ended since the last call. When all of them are over.
  double take();

 private:
  struct Part {
    DeviceEvent begin = nullptr, end = nullptr;
  };
  DeviceApi& device_;
  std::vector<Part> parts_;
  std::size_t used_ = 0;
};

}  // namespace lockstep::comm
