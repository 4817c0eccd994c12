#pragma once
// What a forward pass on a device has besides its tensors: the kernels of fused layers, the stream
// that they go to, and the keys of its dropouts. Made by whoever runs the micro-batch; reached
// through ForwardContext. One rank, one thread.

#include "base/error.hpp"
#include "trainer/layer_kernels.hpp"

namespace lockstep::trainer {

/// Keys of a micro-batch's dropouts in the order of its forward pass, in the device's memory.
/// Kernels read them when they run, those of the backward pass too: they may change between two
/// replays of a graph, and not between a forward pass and its backward pass.
struct DropoutKeys {
  const std::uint64_t* keys = nullptr;  ///< [count], the device's
  std::int64_t count = 0;
  std::int64_t next = 0;

  /// Throws InternalError when all are taken.
  const std::uint64_t* take() {
    LOCKSTEP_EXPECT(next < count, "a key for each dropout of the model");
    return keys + next++;
  }
};

struct DeviceForward {
  LayerKernels& layers;       ///< must outlive the backward pass
  comm::DeviceStream stream;  ///< the one that tensor operations of this thread go to
  DropoutKeys dropouts;
};

}  // namespace lockstep::trainer
