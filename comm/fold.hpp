#pragma once
// The kernel that sums partial results by a fold program, element by element. Used by the
// trainer's reducer on gradients and by all_reduce. Plain additions only, so the bits depend on
// neither the instruction set nor where a call begins and ends. Any thread.

#include <cstddef>
#include <span>

#include "comm/reduction_tree.hpp"

namespace lockstep::comm {

/// out[i] for i in [begin, end) becomes the program's sum over partials[..][i]. `out` may be one
/// of the partials; otherwise they do not overlap. Throws InternalError when the program is not
/// one that fold_program makes for that many partials.
void fold_partials(std::span<const float* const> partials, std::span<const FoldStep> program,
                   float* out, std::size_t begin, std::size_t end);
void fold_partials(std::span<const double* const> partials, std::span<const FoldStep> program,
                   double* out, std::size_t begin, std::size_t end);

/// sum[i] += values[i] for i below count; they do not overlap.
void add_into(float* sum, const float* values, std::size_t count);

}  // namespace lockstep::comm
