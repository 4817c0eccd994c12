#pragma once
// The kernels of a training step on a device, as a seam: CUDA's, or in tests their references on
// the CPU (device_reference.hpp), which they equal bit for bit. All pointers but `states` itself
// are the device's; everything is enqueued on `stream`. Used by DeviceState. One thread at a time.

#include <cstdint>

#include "comm/device_api.hpp"
#include "trainer/update_numbers.h"

namespace lockstep::trainer {

/// How a step's gradients are scaled before the update: divided by `divisor`, and where `clip_norm`
/// is above 0 by what makes their norm at most that (as torch.nn.utils.clip_grad_norm_).
struct GradientScale {
  double divisor = 1;
  double clip_norm = 0;
  /// Where the norm is no finite number the scale is 0, and nothing is changed; else it is none.
  bool leaves_out_overflows = false;
};

class DeviceKernels {
 public:
  virtual ~DeviceKernels() = default;

  /// out[b] = sum of squares of values[b * length .. (b + 1) * length), in an order that depends on
  /// nothing. `length` is a multiple of 64.
  virtual void squares(const float* values, std::int64_t length, std::int64_t blocks, double* out,
                       comm::DeviceStream stream) = 0;
  /// scale[0] = the factor on each gradient, from the blocks' sums of squares.
  virtual void scale(const double* squares, std::int64_t blocks, GradientScale how, float* scale,
                     comm::DeviceStream stream) = 0;
  /// As Optimizer::update, and the new parameters in short as well, in the same pass; `states` is a
  /// host array of two, or fewer as the rule needs. With a scale of 0 it changes nothing.
  virtual void update(const UpdateNumbers& numbers, const float* scale, float* parameters,
                      const float* gradients, float* const* states, ShortCopy shorts,
                      std::int64_t count, comm::DeviceStream stream) = 0;
  /// shorts[i] = values[i], of a type. `count` is a multiple of 4.
  virtual void shorten(const float* values, ShortCopy shorts, std::int64_t count,
                       comm::DeviceStream stream) = 0;
  /// values[i] += changes[i] * factor, unless gradients' `scale` is 0.
  virtual void add_scaled(float* values, const float* changes, float factor, const float* scale,
                          std::int64_t count, comm::DeviceStream stream) = 0;
};

}  // namespace lockstep::trainer
