#pragma once
// What the kernels of DeviceKernels compute, on the CPU: the definition that a device is held to.
// Stateless, any thread.

#include <cstdint>

#include "trainer/device_kernels.hpp"

namespace lockstep::trainer {

/// Each lane adds every 256th value in turn, then halves are added to halves.
double reference_squares(const float* values, std::int64_t count);
/// The blocks' squares are summed by the reduction tree (comm/reduction_tree.hpp).
float reference_scale(const double* squares, std::int64_t blocks, GradientScale how);

/// Each value rounded to the short copy's type, to the nearest, ties to even.
void reference_shorten(const float* values, ShortCopy shorts, std::int64_t count);

}  // namespace lockstep::trainer
