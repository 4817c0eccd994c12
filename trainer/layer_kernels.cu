// The kernels of fused layers: without fused multiply-adds (-fmad=false), so that each has the bits
// of its reference on the CPU (layer_reference.cpp), but for exp. All are bound by memory.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>
#include <type_traits>

#include "trainer/layer_kernels.h"

namespace lockstep::trainer {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFF;
constexpr int kRowsAtATime = 8;  // of a block of bias_gelu; the order of sums of its reference

__device__ float to_float(float value) { return value; }
__device__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ float to_float(__half value) { return __half2float(value); }

__device__ void round_to(float& to, float value) { to = value; }
__device__ void round_to(__nv_bfloat16& to, float value) { to = __float2bfloat16_rn(value); }
__device__ void round_to(__half& to, float value) { to = __float2half_rn(value); }

/// What one instruction loads of kCount neighbours: all of them, or half where they are 32 bytes.
template <class T, int kCount>
using Word = std::conditional_t<kCount * sizeof(T) == 8, uint2, uint4>;
template <class T, int kCount>
constexpr int kWords = kCount * sizeof(T) / sizeof(Word<T, kCount>);

/// kCount neighbours, the first of them aligned as a word is.
template <class T, int kCount>
__device__ void load_words(const T* from, float (&to)[kCount]) {
  Word<T, kCount> words[kWords<T, kCount>];
#pragma unroll
  for (int i = 0; i < kWords<T, kCount>; ++i) {
    words[i] = reinterpret_cast<const Word<T, kCount>*>(from)[i];
  }
  T values[kCount];
  std::memcpy(static_cast<void*>(values), words, sizeof words);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = to_float(values[i]);
}

template <class T, int kCount>
__device__ void store_words(const float (&from)[kCount], T* to) {
  T values[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) round_to(values[i], from[i]);
  Word<T, kCount> words[kWords<T, kCount>];
  std::memcpy(words, static_cast<const void*>(values), sizeof words);
#pragma unroll
  for (int i = 0; i < kWords<T, kCount>; ++i) {
    // An assignment may be taken apart again.
    __stwb(reinterpret_cast<Word<T, kCount>*>(to) + i, words[i]);
  }
}

/// Of kCount neighbours the first `left`, zeros in place of others. All of them are there where
/// kAligned.
template <bool kAligned, int kCount, class T>
__device__ void load(const T* from, std::int64_t left, float (&to)[kCount]) {
  if constexpr (kAligned) {
    load_words(from, to);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = i < left ? to_float(from[i]) : 0.0F;
  }
}

template <bool kAligned, int kCount, class T>
__device__ void store(const float (&from)[kCount], std::int64_t left, T* to) {
  if constexpr (kAligned) {
    store_words(from, to);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < left) round_to(to[i], from[i]);
    }
  }
}

/// 1 / (1 + exp(-u)): of short floats with the fast instructions, whose errors they do not see.
template <class T>
__device__ float gate_of(float u) {
  return __fdividef(1.0F, 1.0F + __expf(-u));
}
template <>
__device__ float gate_of<float>(float u) {
  return 1.0F / (1.0F + expf(-u));
}

constexpr float kGeluScale = 1.5957691216057308F;  // 2 sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715F;

template <class T>
__device__ float gelu(float x) {
  const float square = x * x;
  return x * gate_of<T>(kGeluScale * (x + kGeluCubic * (square * x)));
}

template <class T>
__device__ float gelu_slope(float x) {
  const float square = x * x;
  const float gate = gate_of<T>(kGeluScale * (x + kGeluCubic * (square * x)));
  const float value = x * gate;
  return gate + value * (1.0F - gate) * (kGeluScale * (1.0F + 3 * kGeluCubic * square));
}

/// A warp a row, 16 bytes a thread, whose columns stay the same: it reads the bias once.
template <class T, bool kAligned>
__global__ void __launch_bounds__(kWarp* kRowsAtATime)
    bias_gelu_kernel(std::int64_t rows, std::int64_t columns, const T* __restrict__ inputs,
                     const float* __restrict__ bias, T* __restrict__ outputs) {
  constexpr int kCount = 16 / sizeof(T);
  const auto column = (static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x) * kCount;
  const auto left = columns - column;
  if (left <= 0) return;
  float biases[kCount], values[kCount];
  load<kAligned>(bias + column, left, biases);
  const auto stride = static_cast<std::int64_t>(gridDim.y) * kRowsAtATime;
#pragma unroll 2
  for (auto row = static_cast<std::int64_t>(blockIdx.y) * kRowsAtATime + threadIdx.y; row < rows;
       row += stride) {
    const auto first = row * columns + column;
    load<kAligned>(inputs + first, left, values);
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = gelu<T>(values[i] + biases[i]);
    store<kAligned>(values, left, outputs + first);
  }
}

/// As bias_gelu_kernel; a block has the rows of one chunk, blockIdx.y.
template <class T, bool kAligned>
__global__ void __launch_bounds__(kWarp* kRowsAtATime)
    bias_gelu_backward_kernel(std::int64_t rows, std::int64_t columns, std::int64_t rows_of_chunk,
                              const T* __restrict__ inputs, const float* __restrict__ bias,
                              const T* __restrict__ gradient, T* __restrict__ by_inputs,
                              float* __restrict__ partials) {
  constexpr int kCount = 16 / sizeof(T);
  __shared__ float slots[kRowsAtATime][kCount][kWarp];
  const auto column = (static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x) * kCount;
  const auto left = columns - column;
  float sums[kCount] = {};
  if (left > 0) {
    float biases[kCount], values[kCount], changes[kCount];
    load<kAligned>(bias + column, left, biases);
    const auto begin = blockIdx.y * rows_of_chunk;
    const auto end = begin + rows_of_chunk < rows ? begin + rows_of_chunk : rows;
#pragma unroll 2
    for (auto row = begin + threadIdx.y; row < end; row += kRowsAtATime) {
      const auto first = row * columns + column;
      load<kAligned>(inputs + first, left, values);
      load<kAligned>(gradient + first, left, changes);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        changes[i] *= gelu_slope<T>(values[i] + biases[i]);
        sums[i] += changes[i];
      }
      store<kAligned>(changes, left, by_inputs + first);
    }
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) slots[threadIdx.y][i][threadIdx.x] = sums[i];
  for (unsigned width = kRowsAtATime / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.y < width) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums[i] += slots[threadIdx.y + width][i][threadIdx.x];
        slots[threadIdx.y][i][threadIdx.x] = sums[i];
      }
    }
  }
  if (threadIdx.y == 0 && left > 0) {
    store<kAligned>(sums, left, partials + blockIdx.y * columns + column);
  }
}

/// out[c] = the sum of partials[chunk, c]: 32 lanes take chunks in turn, then halves.
__global__ void __launch_bounds__(kWarp* kWarp)
    fold_chunks_kernel(const float* partials, std::int64_t chunks, std::int64_t width, float* out) {
  __shared__ float lanes[kWarp][kWarp];
  const auto column = static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  float sum = 0;
  if (column < width) {
#pragma unroll 4
    for (std::int64_t chunk = threadIdx.y; chunk < chunks; chunk += kWarp) {
      sum += partials[chunk * width + column];
    }
  }
  lanes[threadIdx.y][threadIdx.x] = sum;
  for (unsigned half = kWarp / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
      lanes[threadIdx.y][threadIdx.x] += lanes[threadIdx.y + half][threadIdx.x];
    }
  }
  if (threadIdx.y == 0 && column < width) out[column] = lanes[0][threadIdx.x];
}

__device__ float warp_sum(float value, int lanes) {
  for (int width = lanes / 2; width > 0; width /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, width);
  }
  return value;
}

/// The sum over a block's threads, which all of them get. The next call that uses the same `warps`
/// must come after another barrier.
__device__ float block_sum(float value, float (&warps)[kWarp]) {
  value = warp_sum(value, kWarp);
  const unsigned count = blockDim.x / kWarp;
  if (count == 1) return value;
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  return warp_sum(warps[threadIdx.x % count], static_cast<int>(count));
}

constexpr int kTurns = 2;  // of a lane, over kMostNormColumns
constexpr int kNeighbours = 4;

/// The first column of a lane's turn.
__device__ std::int64_t column_of(int turn) {
  return (static_cast<std::int64_t>(turn) * blockDim.x + threadIdx.x) * kNeighbours;
}

/// A block a row, which it holds in registers; a thread's columns stay the same for all its rows.
template <class T, bool kAligned>
__global__ void __launch_bounds__(1024)
    layer_norm_kernel(std::int64_t rows, std::int64_t columns, float eps, const T* branch,
                      const float* residual, const float* weight, const float* bias, float* sum,
                      T* normed, float* means, float* rstds) {
  __shared__ float warps[2][kWarp];
  const auto count = static_cast<float>(columns);
  float weights[kTurns][kNeighbours], biases[kTurns][kNeighbours], values[kTurns][kNeighbours];
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto column = column_of(turn), left = columns - column;
    if (left <= 0) continue;
    load<kAligned>(weight + column, left, weights[turn]);
    load<kAligned>(bias + column, left, biases[turn]);
  }
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    float total = 0;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto column = column_of(turn), left = columns - column;
      if (left <= 0) continue;
      const auto first = row * columns + column;
      load<kAligned>(residual + first, left, values[turn]);
      if (branch != nullptr) {
        float added[kNeighbours];
        load<kAligned>(branch + first, left, added);
#pragma unroll
        for (int i = 0; i < kNeighbours; ++i) values[turn][i] += added[i];
        store<kAligned>(values[turn], left, sum + first);
      }
#pragma unroll
      for (int i = 0; i < kNeighbours; ++i) total += values[turn][i];
    }
    const float mean = block_sum(total, warps[0]) / count;
    float squares = 0;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto left = columns - column_of(turn);
#pragma unroll
      for (int i = 0; i < kNeighbours; ++i) {
        const float distance = values[turn][i] - mean;
        if (i < left) squares += distance * distance;
      }
    }
    const float rstd = 1.0F / sqrtf(block_sum(squares, warps[1]) / count + eps);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto column = column_of(turn), left = columns - column;
      if (left <= 0) continue;
      float results[kNeighbours];
#pragma unroll
      for (int i = 0; i < kNeighbours; ++i) {
        results[i] = (values[turn][i] - mean) * rstd * weights[turn][i] + biases[turn][i];
      }
      store<kAligned>(results, left, normed + row * columns + column);
    }
    if (threadIdx.x == 0) {
      means[row] = mean;
      rstds[row] = rstd;
    }
  }
}

/// As layer_norm_kernel; a block has the rows of one chunk in turn.
template <class T, bool kAligned>
__global__ void __launch_bounds__(1024)
    layer_norm_backward_kernel(std::int64_t rows, std::int64_t columns, std::int64_t rows_of_chunk,
                               const float* sum, const float* means, const float* rstds,
                               const float* weight, const T* by_normed, const float* by_sum,
                               float* by_residual, T* by_branch, float* partials) {
  // Of even and odd rows: one barrier a row is enough.
  __shared__ float warps[2][2][kWarp];
  const auto count = static_cast<float>(columns);
  const unsigned warp_count = blockDim.x / kWarp;
  float weights[kTurns][kNeighbours], by_weight[kTurns][kNeighbours] = {},
                                      by_bias[kTurns][kNeighbours] = {};
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto column = column_of(turn), left = columns - column;
    if (left > 0) load<kAligned>(weight + column, left, weights[turn]);
  }
  const auto begin = blockIdx.x * rows_of_chunk;
  const auto end = begin + rows_of_chunk < rows ? begin + rows_of_chunk : rows;
  for (auto row = begin; row < end; ++row) {
    const float mean = means[row], rstd = rstds[row];
    float standard[kTurns][kNeighbours], weighted[kTurns][kNeighbours];
    float total = 0, product = 0;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto column = column_of(turn), left = columns - column;
      if (left <= 0) continue;
      const auto first = row * columns + column;
      float gradients[kNeighbours];
      load<kAligned>(sum + first, left, standard[turn]);
      load<kAligned>(by_normed + first, left, gradients);
#pragma unroll
      for (int i = 0; i < kNeighbours; ++i) {
        standard[turn][i] = (standard[turn][i] - mean) * rstd;
        weighted[turn][i] = gradients[i] * weights[turn][i];
        by_weight[turn][i] += gradients[i] * standard[turn][i];
        by_bias[turn][i] += gradients[i];
        total += weighted[turn][i];
        product += weighted[turn][i] * standard[turn][i];
      }
    }
    total = warp_sum(total, kWarp);
    product = warp_sum(product, kWarp);
    if (warp_count > 1) {
      auto& of_warps = warps[(row - begin) % 2];
      if (threadIdx.x % kWarp == 0) {
        of_warps[0][threadIdx.x / kWarp] = total;
        of_warps[1][threadIdx.x / kWarp] = product;
      }
      __syncthreads();
      total = warp_sum(of_warps[0][threadIdx.x % warp_count], static_cast<int>(warp_count));
      product = warp_sum(of_warps[1][threadIdx.x % warp_count], static_cast<int>(warp_count));
    }
    const float mean_gradient = total / count, mean_product = product / count;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const auto column = column_of(turn), left = columns - column;
      if (left <= 0) continue;
      const auto first = row * columns + column;
      float changes[kNeighbours];
#pragma unroll
      for (int i = 0; i < kNeighbours; ++i) {
        changes[i] = rstd * (weighted[turn][i] - mean_gradient - standard[turn][i] * mean_product);
      }
      if (by_sum != nullptr) {
        float direct[kNeighbours];
        load<kAligned>(by_sum + first, left, direct);
#pragma unroll
        for (int i = 0; i < kNeighbours; ++i) changes[i] += direct[i];
      }
      store<kAligned>(changes, left, by_residual + first);
      if (by_branch != nullptr) store<kAligned>(changes, left, by_branch + first);
    }
  }
  float* of_weight = partials + blockIdx.x * 2 * columns;
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto column = column_of(turn), left = columns - column;
    if (left <= 0) continue;
    store<kAligned>(by_weight[turn], left, of_weight + column);
    store<kAligned>(by_bias[turn], left, of_weight + columns + column);
  }
}

/// base/philox.hpp's philox4x32 of counter {counter, 0, 0}.
__device__ uint4 philox(std::uint64_t counter, std::uint64_t key) {
  auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
  uint4 words{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0};
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    // Halves of products, since nvcc makes more of one of 64 bits.
    constexpr std::uint32_t kLeft = 0xD2511F53u, kRight = 0xCD9E8D57u;
    words = {__umulhi(kRight, words.z) ^ words.y ^ key0, kRight * words.z,
             __umulhi(kLeft, words.x) ^ words.w ^ key1, kLeft * words.x};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return words;
}

/// 64 elements belong to 16 counters, word w of counter l to element 16 w + l. A thread takes as
/// many counters as elements are 16 bytes, and so four times 16 bytes.
template <bool kAligned, class T>
__device__ void drop(std::int64_t count, std::int64_t block, std::int64_t lane, std::uint64_t key,
                     std::uint32_t dropped_below, float kept, const T* inputs, T* outputs) {
  constexpr int kCount = 16 / sizeof(T);
  float values[4][kCount];
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    const auto first = block * 64 + word * 16 + lane;
    load<kAligned>(inputs + first, count - first, values[word]);
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const uint4 words = philox(static_cast<std::uint64_t>(block * 16 + lane + i), key);
    values[0][i] *= words.x < dropped_below ? 0.0F : kept;
    values[1][i] *= words.y < dropped_below ? 0.0F : kept;
    values[2][i] *= words.z < dropped_below ? 0.0F : kept;
    values[3][i] *= words.w < dropped_below ? 0.0F : kept;
  }
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    const auto first = block * 64 + word * 16 + lane;
    store<kAligned>(values[word], count - first, outputs + first);
  }
}

template <class T, bool kAligned>
__global__ void __launch_bounds__(256)
    dropout_kernel(std::int64_t count, const std::uint64_t* key_of, std::uint32_t dropped_below,
                   float kept, const T* inputs, T* outputs) {
  constexpr int kCount = 16 / sizeof(T);
  constexpr int kParts = 16 / kCount;
  const auto key = *key_of;
  const auto parts = (count + 63) / 64 * kParts;
  const auto stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (auto part = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; part < parts;
       part += stride) {
    const auto block = part / kParts;
    const auto lane = part % kParts * kCount;
    if (kAligned && block * 64 + 64 <= count) {
      drop<kAligned>(count, block, lane, key, dropped_below, kept, inputs, outputs);
    } else {
      drop<false>(count, block, lane, key, dropped_below, kept, inputs, outputs);
    }
  }
}

std::int64_t ceil_divide(std::int64_t count, std::int64_t by) { return (count + by - 1) / by; }
unsigned at_most(std::int64_t count, std::int64_t most) {
  return static_cast<unsigned>(count < most ? count : most);
}

template <class... Pointers>
bool are_aligned(Pointers... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Calls `launch` with a null pointer to the type, and what tells whether 16 bytes are one access.
template <class Launch>
cudaError_t for_type(ElementType type, bool aligned, Launch launch) {
  const auto for_alignment = [&](auto* null) {
    if (aligned) {
      launch(null, std::true_type());
    } else {
      launch(null, std::false_type());
    }
  };
  switch (type) {
    case ElementType::kFloat32: for_alignment(static_cast<float*>(nullptr)); break;
    case ElementType::kBFloat16: for_alignment(static_cast<__nv_bfloat16*>(nullptr)); break;
    case ElementType::kFloat16: for_alignment(static_cast<__half*>(nullptr)); break;
  }
  return cudaGetLastError();
}

dim3 strips_of(ElementType type, std::int64_t columns, std::int64_t chunks) {
  const std::int64_t width = kWarp * (type == ElementType::kFloat32 ? 4 : 8);
  return {static_cast<unsigned>(ceil_divide(columns, width)), static_cast<unsigned>(chunks)};
}

cudaError_t fold_chunks(const float* partials, std::int64_t chunks, std::int64_t width, float* out,
                        cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(ceil_divide(width, kWarp));
  fold_chunks_kernel<<<blocks, dim3(kWarp, kWarp), 0, stream>>>(partials, chunks, width, out);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_bias_gelu(const BiasGeluForward& pass, cudaStream_t stream) {
  if (pass.rows == 0 || pass.columns == 0) return cudaSuccess;
  const bool aligned = pass.columns % 8 == 0 && are_aligned(pass.inputs, pass.bias, pass.outputs);
  const auto blocks =
      strips_of(pass.type, pass.columns, at_most(ceil_divide(pass.rows, 4 * kRowsAtATime), 65535));
  return for_type(pass.type, aligned, [&](auto* null, auto is_aligned) {
    using Type = std::remove_pointer_t<decltype(null)>;
    bias_gelu_kernel<Type, decltype(is_aligned)::value>
        <<<blocks, dim3(kWarp, kRowsAtATime), 0, stream>>>(
            pass.rows, pass.columns, static_cast<const Type*>(pass.inputs), pass.bias,
            static_cast<Type*>(pass.outputs));
  });
}

cudaError_t launch_bias_gelu_backward(const BiasGeluBackward& pass, cudaStream_t stream) {
  if (pass.columns == 0) return cudaSuccess;
  const bool aligned = pass.columns % 8 == 0 && are_aligned(pass.inputs, pass.bias, pass.gradient,
                                                            pass.by_inputs, pass.partials);
  const auto chunks = row_chunks(pass.rows, kBiasGeluChunks);
  if (chunks > 0) {
    const auto result = for_type(pass.type, aligned, [&](auto* null, auto is_aligned) {
      using Type = std::remove_pointer_t<decltype(null)>;
      bias_gelu_backward_kernel<Type, decltype(is_aligned)::value>
          <<<strips_of(pass.type, pass.columns, chunks), dim3(kWarp, kRowsAtATime), 0, stream>>>(
              pass.rows, pass.columns, rows_of_chunk(pass.rows, kBiasGeluChunks),
              static_cast<const Type*>(pass.inputs), pass.bias,
              static_cast<const Type*>(pass.gradient), static_cast<Type*>(pass.by_inputs),
              pass.partials);
    });
    if (result != cudaSuccess) return result;
  }
  return fold_chunks(pass.partials, chunks, pass.columns, pass.by_bias, stream);
}

cudaError_t launch_layer_norm(const LayerNormForward& pass, cudaStream_t stream) {
  if (pass.rows == 0) return cudaSuccess;
  const bool aligned =
      pass.columns % kNeighbours == 0 &&
      are_aligned(pass.branch, pass.residual, pass.weight, pass.bias, pass.sum, pass.normed);
  return for_type(pass.type, aligned, [&](auto* null, auto is_aligned) {
    using Type = std::remove_pointer_t<decltype(null)>;
    layer_norm_kernel<Type, decltype(is_aligned)::value>
        <<<at_most(pass.rows, 4096), norm_lanes(pass.columns), 0, stream>>>(
            pass.rows, pass.columns, pass.eps, static_cast<const Type*>(pass.branch), pass.residual,
            pass.weight, pass.bias, pass.sum, static_cast<Type*>(pass.normed), pass.mean,
            pass.rstd);
  });
}

cudaError_t launch_layer_norm_backward(const LayerNormBackward& pass, cudaStream_t stream) {
  const bool aligned = pass.columns % kNeighbours == 0 &&
                       are_aligned(pass.sum, pass.weight, pass.by_normed, pass.by_sum,
                                   pass.by_residual, pass.by_branch, pass.partials);
  const auto chunks = row_chunks(pass.rows, kLayerNormChunks);
  if (chunks > 0) {
    const auto result = for_type(pass.type, aligned, [&](auto* null, auto is_aligned) {
      using Type = std::remove_pointer_t<decltype(null)>;
      layer_norm_backward_kernel<Type, decltype(is_aligned)::value>
          <<<static_cast<unsigned>(chunks), norm_lanes(pass.columns), 0, stream>>>(
              pass.rows, pass.columns, rows_of_chunk(pass.rows, kLayerNormChunks), pass.sum,
              pass.mean, pass.rstd, pass.weight, static_cast<const Type*>(pass.by_normed),
              pass.by_sum, pass.by_residual, static_cast<Type*>(pass.by_branch), pass.partials);
    });
    if (result != cudaSuccess) return result;
  }
  return fold_chunks(pass.partials, chunks, 2 * pass.columns, pass.by_parameters, stream);
}

cudaError_t launch_dropout(const DropoutPass& pass, std::uint32_t dropped_below, float kept,
                           cudaStream_t stream) {
  if (pass.count == 0) return cudaSuccess;
  constexpr int kThreads = 256;
  const std::int64_t parts =
      ceil_divide(pass.count, 64) * (pass.type == ElementType::kFloat32 ? 4 : 2);
  const auto blocks = at_most(ceil_divide(parts, kThreads), 65535);
  return for_type(
      pass.type, are_aligned(pass.inputs, pass.outputs), [&](auto* null, auto is_aligned) {
        using Type = std::remove_pointer_t<decltype(null)>;
        dropout_kernel<Type, decltype(is_aligned)::value><<<blocks, kThreads, 0, stream>>>(
            pass.count, pass.key, dropped_below, kept, static_cast<const Type*>(pass.inputs),
            static_cast<Type*>(pass.outputs));
      });
}

}  // namespace lockstep::trainer
