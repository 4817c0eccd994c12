// The kernels of a training step: without fused multiply-adds (-fmad=false), so that each has the
// bits of its reference on the CPU (optimizer.cpp, device_reference.cpp).

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "trainer/device_kernels.h"

namespace lockstep::trainer {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 8192;

unsigned blocks_for(std::int64_t count) {
  const auto blocks = (count + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

/// One thread block a block of values: 256 lanes, then halves.
__global__ void squares_kernel(const float* values, std::int64_t length, double* out) {
  __shared__ double lanes[kThreads];
  const float* block = values + static_cast<std::int64_t>(blockIdx.x) * length;
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < length; i += kThreads) {
    const double value = block[i];
    sum += value * value;
  }
  lanes[threadIdx.x] = sum;
  for (unsigned width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) lanes[threadIdx.x] += lanes[threadIdx.x + width];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = lanes[0];
}

/// The reduction tree over `count` leaves by one thread, as a binary counter: after leaf i as many
/// neighbours are complete as i has trailing ones; what is left is added from the right.
__global__ void scale_kernel(const double* squares, std::int64_t count, double divisor,
                             double clip_norm, bool leaves_out_overflows, float* scale) {
  double stack[64];
  int top = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    double value = squares[i];
    for (std::int64_t ones = i; (ones & 1) != 0; ones >>= 1) value = stack[--top] + value;
    stack[top++] = value;
  }
  double total = top > 0 ? stack[--top] : 0;
  while (top > 0) total = stack[--top] + total;
  if (!isfinite(total)) {
    *scale = leaves_out_overflows ? 0.0F : __int_as_float(0x7FC00000);
    return;
  }
  const double mean = 1 / divisor;
  const double coefficient = clip_norm / (sqrt(total) / divisor + 1e-6);
  *scale = static_cast<float>(clip_norm > 0 && coefficient < 1 ? mean * coefficient : mean);
}

struct NoShorts {};

template <class Short>
__device__ Short shortened(float value);
template <>
__device__ __nv_bfloat16 shortened(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ __half shortened(float value) {
  return __float2half_rn(value);
}

/// Four parameters, stored as 8 bytes.
template <class Short>
__device__ void store_shorts(Short* shorts, std::int64_t vector, const float4& values) {
  struct alignas(8) Four {
    Short x, y, z, w;
  };
  reinterpret_cast<Four*>(shorts)[vector] = {shortened<Short>(values.x), shortened<Short>(values.y),
                                             shortened<Short>(values.z),
                                             shortened<Short>(values.w)};
}
__device__ void store_shorts(NoShorts*, std::int64_t, const float4&) {}

template <class Short>
__global__ void shorten_kernel(const float4* values, Short* shorts, std::int64_t vectors) {
  const auto stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (auto i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < vectors;
       i += stride) {
    store_shorts(shorts, i, values[i]);
  }
}

__device__ void sgd(const SgdNumbers& n, UpdateRule rule, float scale, float& p, float g,
                    float& buffer) {
  float gradient = g * scale + n.weight_decay * p;
  if (rule != UpdateRule::kSgd) {
    buffer = n.momentum * buffer + gradient;
    gradient = rule == UpdateRule::kSgdNesterov ? gradient + n.momentum * buffer : buffer;
  }
  p -= n.lr * gradient;
}

template <class Short>
__global__ void sgd_kernel(SgdNumbers n, UpdateRule rule, const float* scale_of, float4* p,
                           const float4* g, float4* buffer, Short* shorts, std::int64_t vectors) {
  const float scale = *scale_of;
  if (scale == 0) return;
  const auto stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (auto i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < vectors;
       i += stride) {
    float4 p4 = p[i], b4 = buffer == nullptr ? float4{} : buffer[i];
    const float4 g4 = g[i];
    sgd(n, rule, scale, p4.x, g4.x, b4.x);
    sgd(n, rule, scale, p4.y, g4.y, b4.y);
    sgd(n, rule, scale, p4.z, g4.z, b4.z);
    sgd(n, rule, scale, p4.w, g4.w, b4.w);
    p[i] = p4;
    if (buffer != nullptr) buffer[i] = b4;
    store_shorts(shorts, i, p4);
  }
}

__device__ void adam(const AdamNumbers& n, float scale, float& p, float g, float& m, float& v) {
  const float gradient = g * scale + n.l2 * p;
  m = n.beta1 * m + n.one_minus_beta1 * gradient;
  v = n.beta2 * v + n.one_minus_beta2 * (gradient * gradient);
  const float denominator = sqrtf(v) * n.inverse_bias2_root + n.eps;
  p = p * n.keep - n.step_size * (m / denominator);
}

/// Four at a time: bound by memory, 28 bytes a parameter, and 2 for its short copy.
template <class Short>
__global__ void adam_kernel(AdamNumbers n, const float* scale_of, float4* p, const float4* g,
                            float4* m, float4* v, Short* shorts, std::int64_t vectors) {
  const float scale = *scale_of;
  if (scale == 0) return;
  const auto stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (auto i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < vectors;
       i += stride) {
    float4 p4 = p[i], m4 = m[i], v4 = v[i];
    const float4 g4 = g[i];
    adam(n, scale, p4.x, g4.x, m4.x, v4.x);
    adam(n, scale, p4.y, g4.y, m4.y, v4.y);
    adam(n, scale, p4.z, g4.z, m4.z, v4.z);
    adam(n, scale, p4.w, g4.w, m4.w, v4.w);
    p[i] = p4;
    m[i] = m4;
    v[i] = v4;
    store_shorts(shorts, i, p4);
  }
}

__global__ void add_scaled_kernel(float* values, const float* changes, float factor,
                                  const float* scale_of, std::int64_t count) {
  if (*scale_of == 0) return;
  const auto stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (auto i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    values[i] += changes[i] * factor;
  }
}

template <class Short>
cudaError_t update_with(const UpdateNumbers& numbers, const float* scale, float* parameters,
                        const float* gradients, float* const* states, Short* shorts,
                        std::int64_t count, cudaStream_t stream) {
  const auto vectors = count / 4;
  if (vectors == 0) return cudaSuccess;
  const auto fours = [](float* values) { return reinterpret_cast<float4*>(values); };
  const auto* g = reinterpret_cast<const float4*>(gradients);
  if (numbers.rule == UpdateRule::kAdam) {
    adam_kernel<<<blocks_for(vectors), kThreads, 0, stream>>>(
        numbers.adam, scale, fours(parameters), g, fours(states[0]), fours(states[1]), shorts,
        vectors);
  } else {
    auto* buffer = numbers.rule == UpdateRule::kSgd ? nullptr : fours(states[0]);
    sgd_kernel<<<blocks_for(vectors), kThreads, 0, stream>>>(
        numbers.sgd, numbers.rule, scale, fours(parameters), g, buffer, shorts, vectors);
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_squares(const float* values, std::int64_t length, std::int64_t blocks,
                           double* out, cudaStream_t stream) {
  if (blocks == 0) return cudaSuccess;
  squares_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(values, length, out);
  return cudaGetLastError();
}

cudaError_t launch_scale(const double* squares, std::int64_t blocks, double divisor,
                         double clip_norm, bool leaves_out_overflows, float* scale,
                         cudaStream_t stream) {
  scale_kernel<<<1, 1, 0, stream>>>(squares, blocks, divisor, clip_norm, leaves_out_overflows,
                                    scale);
  return cudaGetLastError();
}

cudaError_t launch_update(const UpdateNumbers& numbers, const float* scale, float* parameters,
                          const float* gradients, float* const* states, ShortCopy shorts,
                          std::int64_t count, cudaStream_t stream) {
  switch (shorts.type) {
    case ShortType::kNone:
      return update_with(numbers, scale, parameters, gradients, states,
                         static_cast<NoShorts*>(nullptr), count, stream);
    case ShortType::kBFloat16:
      return update_with(numbers, scale, parameters, gradients, states,
                         static_cast<__nv_bfloat16*>(shorts.values), count, stream);
    case ShortType::kFloat16:
      return update_with(numbers, scale, parameters, gradients, states,
                         static_cast<__half*>(shorts.values), count, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t launch_shorten(const float* values, ShortCopy shorts, std::int64_t count,
                           cudaStream_t stream) {
  const auto vectors = count / 4;
  if (vectors == 0 || shorts.type == ShortType::kNone) return cudaSuccess;
  const auto* from = reinterpret_cast<const float4*>(values);
  if (shorts.type == ShortType::kBFloat16) {
    shorten_kernel<<<blocks_for(vectors), kThreads, 0, stream>>>(
        from, static_cast<__nv_bfloat16*>(shorts.values), vectors);
  } else {
    shorten_kernel<<<blocks_for(vectors), kThreads, 0, stream>>>(
        from, static_cast<__half*>(shorts.values), vectors);
  }
  return cudaGetLastError();
}

cudaError_t launch_add_scaled(float* values, const float* changes, float factor, const float* scale,
                              std::int64_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  add_scaled_kernel<<<blocks_for(count), kThreads, 0, stream>>>(values, changes, factor, scale,
                                                                count);
  return cudaGetLastError();
}

}  // namespace lockstep::trainer
