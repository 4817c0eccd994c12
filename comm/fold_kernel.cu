// Sums partial gradients by a fold program, element by element: plain additions in the program's
// order, so the bits are those of comm/fold.cpp. Bound by memory: one read a partial, one write.

#include "comm/fold_kernel.h"

namespace lockstep::comm {
namespace {

constexpr int kThreads = 256;

__device__ float4 sum(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__global__ void fold_kernel(FoldLaunch fold, float4* out, std::size_t vectors) {
  const auto stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (auto i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < vectors;
       i += stride) {
    float4 stack[FoldLaunch::kDeepest];  // programs are checked before
    int top = 0;
    for (int partial = 0; partial < fold.count; ++partial) {
      float4 value = reinterpret_cast<const float4*>(fold.partials[partial])[i];
      for (int adds = fold.adds[partial]; adds > 0; --adds) value = sum(stack[--top], value);
      stack[top++] = value;
    }
    out[i] = stack[0];
  }
}

}  // namespace

cudaError_t launch_fold(const FoldLaunch& fold, float* out, std::size_t elements,
                        cudaStream_t stream) {
  const std::size_t vectors = elements / 4;
  if (vectors == 0) return cudaSuccess;
  const std::size_t blocks = (vectors + kThreads - 1) / kThreads;
  constexpr std::size_t kMostBlocks = 4096;
  fold_kernel<<<static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0,
                stream>>>(fold, reinterpret_cast<float4*>(out), vectors);
  return cudaGetLastError();
}

}  // namespace lockstep::comm
