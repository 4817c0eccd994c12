#pragma once
// Memory, streams and events of the device that a rank computes on, as a seam: the CUDA runtime on
// a GPU, a fake in tests. Everything throws DeviceError with the runtime's words. Used by
// NcclGroup.

#include <cstddef>

namespace lockstep::comm {

using DeviceStream = void*;  ///< cudaStream_t
using DeviceEvent = void*;   ///< cudaEvent_t

class DeviceApi {
 public:
  virtual ~DeviceApi() = default;

  /// All zeros.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  // Enqueued; the host's memory is read or written until then. Beside what the host does where that
  // is pinned.
  virtual void copy_to_host(void* to, const void* from, std::size_t bytes, DeviceStream stream) = 0;
  virtual void copy_to_device(void* to, const void* from, std::size_t bytes,
                              DeviceStream stream) = 0;
  virtual void copy_within(void* to, const void* from, std::size_t bytes, DeviceStream stream) = 0;
  /// Host memory that the device reads and writes by itself from now on. False where that cannot be
  /// had: copies then are slower.
  virtual bool pin(void* memory, std::size_t bytes) noexcept = 0;
  virtual void unpin(void* memory) noexcept = 0;

  /// Of high priority, beside the default stream and not ordered with it.
  virtual DeviceStream make_stream() = 0;
  virtual void end_stream(DeviceStream stream) noexcept = 0;
  virtual DeviceEvent make_event() = 0;
  /// An event that knows when it was done.
  virtual DeviceEvent make_timer() = 0;
  virtual void end_event(DeviceEvent event) noexcept = 0;

  /// `event` is done when all that is in `stream` now is.
  virtual void record(DeviceEvent event, DeviceStream stream) = 0;
  /// What comes into `stream` from now on waits for `event`; the caller does not.
  virtual void wait(DeviceStream stream, DeviceEvent event) = 0;
  /// Of two timers that are both done.
  virtual double seconds_between(DeviceEvent begin, DeviceEvent end) = 0;
  /// Also when it was never recorded.
  virtual bool is_done(DeviceEvent event) = 0;
};

}  // namespace lockstep::comm
