#include "trainer/step_profiler.hpp"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <set>

#include "base/file_system.hpp"

namespace lockstep::trainer {
namespace {

using torch::profiler::impl::ActivityType;

torch::profiler::impl::ProfilerConfig profiler_config() {
  return torch::profiler::impl::ProfilerConfig(torch::profiler::impl::ProfilerState::KINETO,
                                               /*report_input_shapes=*/true);
}

std::set<ActivityType> activities(bool gpu) {
  std::set<ActivityType> all{ActivityType::CPU};
  if (gpu) all.insert(ActivityType::CUDA);
  return all;
}

}  // namespace

StepProfiler::StepProfiler(ProfileOptions options) : options_(std::move(options)) {}

void StepProfiler::before(std::int64_t step) {
  if (traces_ || written_ || step < options_.first || step > options_.last) return;
  torch::autograd::profiler::prepareProfiler(profiler_config(), activities(options_.gpu));
  torch::autograd::profiler::enableProfiler(profiler_config(), activities(options_.gpu));
  traces_ = true;
}

void StepProfiler::after(std::int64_t step) {
  if (step >= options_.last) finish();
}

bool StepProfiler::finish() {
  if (!traces_) return written_;
  traces_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  base::FileSystem::posix().make_directories(base::parent_path(options_.path));
  result->save(options_.path);
  written_ = true;
  return true;
}

}  // namespace lockstep::trainer
