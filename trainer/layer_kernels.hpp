#pragma once
// The kernels of fused layers on a device, as a seam: CUDA's, or in tests their references on the
// CPU (layer_reference.hpp). LayerNorm, dropout and the order of all sums have the references'
// bits; GELU differs from them by the last places of exp. Everything is enqueued on `stream` and
// can be captured in a graph; nothing is summed with atomics. Used by fused_layers. One thread at a
// time.

#include "comm/device_api.hpp"
#include "trainer/layer_arguments.h"

namespace lockstep::trainer {

class LayerKernels {
 public:
  virtual ~LayerKernels() = default;

  virtual void bias_gelu(const BiasGeluForward& pass, comm::DeviceStream stream) = 0;
  virtual void bias_gelu_backward(const BiasGeluBackward& pass, comm::DeviceStream stream) = 0;
  virtual void layer_norm(const LayerNormForward& pass, comm::DeviceStream stream) = 0;
  virtual void layer_norm_backward(const LayerNormBackward& pass, comm::DeviceStream stream) = 0;
  virtual void dropout(const DropoutPass& pass, comm::DeviceStream stream) = 0;
};

}  // namespace lockstep::trainer
