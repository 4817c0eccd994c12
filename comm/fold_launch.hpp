#pragma once
// A fold program as the kernel takes it. Pure; any thread.

#include <span>
#include <vector>

#include "comm/reduction_tree.hpp"

namespace lockstep::comm {

/// The kernel's limits; comm/fold_kernel.h has them as well, for nvcc, and cuda_fold compares.
inline constexpr int kMostFoldPartials = 256;
inline constexpr int kDeepestFold = 16;  ///< a tree of 32,768 leaves

/// How many additions follow each partial's load, partials in order; what the kernel runs. Throws
/// InternalError for a program that fold_program does not make: partials in another order, a stack
/// that is empty or deeper than kDeepestFold.
std::vector<unsigned char> adds_after_loads(std::span<const FoldStep> program);

}  // namespace lockstep::comm
