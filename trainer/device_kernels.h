#pragma once
// Launches of the kernels behind DeviceKernels, as C++17 without torch: what nvcc reads. Used by
// cuda_kernels.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "trainer/update_numbers.h"

namespace lockstep::trainer {

// Each returns what the launch did; arguments as DeviceKernels.
cudaError_t launch_squares(const float* values, std::int64_t length, std::int64_t blocks,
                           double* out, cudaStream_t stream);
cudaError_t launch_scale(const double* squares, std::int64_t blocks, double divisor,
                         double clip_norm, bool leaves_out_overflows, float* scale,
                         cudaStream_t stream);
cudaError_t launch_update(const UpdateNumbers& numbers, const float* scale, float* parameters,
                          const float* gradients, float* const* states, ShortCopy shorts,
                          std::int64_t count, cudaStream_t stream);
cudaError_t launch_shorten(const float* values, ShortCopy shorts, std::int64_t count,
                           cudaStream_t stream);
cudaError_t launch_add_scaled(float* values, const float* changes, float factor, const float* scale,
                              std::int64_t count, cudaStream_t stream);

}  // namespace lockstep::trainer
