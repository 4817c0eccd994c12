#pragma once
// A fold program as the kernel takes it. Pure; any thread.

#include <span>
#include <vector>

#include "comm/reduction_tree.hpp"

namespace lockstep::comm {

/// How many additions follow each partial's load, partials in order; what the kernel runs. Throws
/// InternalError for a program that fold_program does not make: partials in another order, a stack
/// that is empty or deeper than 16.
std::vector<unsigned char> adds_after_loads(std::span<const FoldStep> program);

}  // namespace lockstep::comm
