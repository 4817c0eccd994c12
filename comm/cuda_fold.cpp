#include "comm/cuda_fold.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "comm/cuda_check.hpp"
#include "comm/fold_kernel.h"
#include "comm/fold_launch.hpp"

namespace lockstep::comm {
namespace {

static_assert(FoldLaunch::kMostPartials == kMostFoldPartials &&
              FoldLaunch::kDeepest == kDeepestFold);

class CudaFold final : public DeviceFold {
 public:
  void fold(std::span<const float* const> partials, std::span<const FoldStep> program, float* out,
            std::size_t count, DeviceStream stream) override {
    LOCKSTEP_EXPECT(std::cmp_less_equal(partials.size(), FoldLaunch::kMostPartials),
                    "a fold of " + std::to_string(partials.size()) + " partials");
    LOCKSTEP_EXPECT(count % 4 == 0, "a fold of a part of 16 bytes");
    FoldLaunch launch;
    const auto adds = adds_after_loads(program);
    LOCKSTEP_EXPECT(adds.size() == partials.size(), "a fold program for other partials");
    std::ranges::copy(partials, launch.partials);
    std::ranges::copy(adds, launch.adds);
    launch.count = static_cast<int>(partials.size());
    check_cuda(launch_fold(launch, out, count, static_cast<cudaStream_t>(stream)),
               "the fold kernel");
  }
};

}  // namespace

std::unique_ptr<DeviceFold> cuda_fold() { return std::make_unique<CudaFold>(); }

}  // namespace lockstep::comm
