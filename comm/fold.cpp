#include "comm/fold.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/vector_clones.hpp"

// Where `sum` is one of the operands, each element is still read before it is written.
#if defined(__clang__)
#define LOCKSTEP_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define LOCKSTEP_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace lockstep::comm {
namespace {

constexpr std::size_t kTile = 1024;  // elements; a tile of every operand stays in the L1 cache

LOCKSTEP_VECTOR_CLONES void add(const float* lower, const float* upper, float* sum,
                                std::size_t count) {
  LOCKSTEP_INDEPENDENT
  for (std::size_t i = 0; i < count; ++i) sum[i] = lower[i] + upper[i];
}

LOCKSTEP_VECTOR_CLONES void add(const double* lower, const double* upper, double* sum,
                                std::size_t count) {
  LOCKSTEP_INDEPENDENT
  for (std::size_t i = 0; i < count; ++i) sum[i] = lower[i] + upper[i];
}

/// The most stack entries the program uses. Throws InternalError when it is not well formed.
std::size_t checked_depth(std::span<const FoldStep> program, std::size_t partials) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  for (const auto& step : program) {
    if (step.kind == FoldStep::Kind::kLoad) {
      LOCKSTEP_EXPECT(step.operand >= 0 && static_cast<std::size_t>(step.operand) < partials,
                      "fold program loads partial " + std::to_string(step.operand) + " of " +
                          std::to_string(partials));
      deepest = std::max(deepest, ++depth);
    } else {
      LOCKSTEP_EXPECT(depth >= 2, "fold program adds what it has not loaded");
      --depth;
    }
  }
  LOCKSTEP_EXPECT(depth == 1, "fold program does not end with one sum");
  return deepest;
}

template <class Value>
void fold(std::span<const Value* const> partials, std::span<const FoldStep> program, Value* out,
          std::size_t begin, std::size_t end) {
  const auto depth = checked_depth(program, partials.size());
  if (program.size() == 1) {
    const Value* only = partials[static_cast<std::size_t>(program[0].operand)];
    if (only != out && begin < end) std::copy(only + begin, only + end, out + begin);
    return;
  }
  // The sum that lands on stack entry d is kept in tile d; loaded partials are read in place.
  const auto tiles = std::make_unique_for_overwrite<Value[]>(depth * kTile);
  std::vector<const Value*> stack(depth);
  for (std::size_t first = begin; first < end; first += kTile) {
    const auto count = std::min(kTile, end - first);
    std::size_t top = 0;
    for (const auto& step : program.first(program.size() - 1)) {
      if (step.kind == FoldStep::Kind::kLoad) {
        stack[top++] = partials[static_cast<std::size_t>(step.operand)] + first;
      } else {
        --top;
        Value* sum = tiles.get() + (top - 1) * kTile;
        add(stack[top - 1], stack[top], sum, count);
        stack[top - 1] = sum;
      }
    }
    // Only the last addition writes to `out`, which may be one of the partials.
    add(stack[0], stack[1], out + first, count);
  }
}

}  // namespace

void fold_partials(std::span<const float* const> partials, std::span<const FoldStep> program,
                   float* out, std::size_t begin, std::size_t end) {
  fold(partials, program, out, begin, end);
}

void fold_partials(std::span<const double* const> partials, std::span<const FoldStep> program,
                   double* out, std::size_t begin, std::size_t end) {
  fold(partials, program, out, begin, end);
}

void add_into(float* sum, const float* values, std::size_t count) { add(sum, values, sum, count); }

}  // namespace lockstep::comm
