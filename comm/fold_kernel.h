#pragma once
// The launch of the fold kernel, as C++17 without torch: what nvcc reads. Used by cuda_fold.

#include <cuda_runtime_api.h>

#include <cstddef>

namespace lockstep::comm {

/// A fold program over at most kMostPartials: each partial is loaded in turn, and after it the two
/// top entries of the stack are added so many times.
struct FoldLaunch {
  static constexpr int kMostPartials = 256;
  static constexpr int kDeepest = 16;  // entries of the stack
  const float* partials[kMostPartials];
  unsigned char adds[kMostPartials];
  int count = 0;
};

/// `elements` is a multiple of 4, all addresses are of 16. Returns what the launch did.
cudaError_t launch_fold(const FoldLaunch& fold, float* out, std::size_t elements,
                        cudaStream_t stream);

}  // namespace lockstep::comm
