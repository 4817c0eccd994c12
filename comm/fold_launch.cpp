#include "comm/fold_launch.hpp"

#include <utility>

#include "base/error.hpp"

namespace lockstep::comm {

std::vector<unsigned char> adds_after_loads(std::span<const FoldStep> program) {
  std::vector<unsigned char> adds;
  int depth = 0;
  for (const auto& step : program) {
    if (step.kind == FoldStep::Kind::kLoad) {
      LOCKSTEP_EXPECT(std::cmp_equal(step.operand, adds.size()), "partials loaded out of order");
      adds.push_back(0);
      ++depth;
    } else {
      LOCKSTEP_EXPECT(depth >= 2, "fold program adds what it has not loaded");
      ++adds.back();
      --depth;
    }
    LOCKSTEP_EXPECT(depth <= kDeepestFold, "a fold program of more than 32,768 leaves");
  }
  LOCKSTEP_EXPECT(depth == 1, "fold program does not end with one sum");
  return adds;
}

}  // namespace lockstep::comm
