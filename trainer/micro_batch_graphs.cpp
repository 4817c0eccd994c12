#include "trainer/micro_batch_graphs.hpp"

#include <torch/csrc/autograd/anomaly_mode.h>

#include <algorithm>

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kWarmUp = 3;  // libraries load kernels and allocate workspaces meanwhile

}  // namespace

torch::Tensor MicroBatchGraphs::run(const Key& key, const std::function<torch::Tensor()>& work) {
  const bool none = gave_up_ || computed_ < kWarmUp || torch::autograd::AnomalyMode::is_enabled();
  auto* known = none ? nullptr : captured(key, work);
  if (known == nullptr) return run_eagerly(work);
  known->graph->launch();
  // The host's part in it.
  space_.change_counters(counter_changes_);
  return known->loss;
}

bool MicroBatchGraphs::has_graph(const void* inputs, const float* target,
                                 Contribution contribution) const {
  return std::ranges::any_of(graphs_, [&](const auto& entry) {
    const auto& key = entry.first;
    return key.inputs == inputs && key.target == target && key.contribution == contribution;
  });
}

torch::Tensor MicroBatchGraphs::run_eagerly(const std::function<torch::Tensor()>& work) {
  const auto loss = work();
  counter_changes_ = space_.counter_changes();
  ++computed_;
  return loss;
}

MicroBatchGraphs::Captured* MicroBatchGraphs::captured(const Key& key,
                                                       const std::function<torch::Tensor()>& work) {
  if (const auto found = graphs_.find(key); found != graphs_.end()) return found->second.get();
  auto made = std::make_unique<Captured>();
  try {
    made->graph = device_.graphs->capture([to = &made->loss, work] { *to = work(); });
  } catch (const std::exception& error) {
    const std::string words = error.what();
    gave_up_ = true;
    graphs_.clear();  // with their memory
    device_.warn(
        "micro-batches are computed kernel by kernel, which is slower for small models: "
        "they could not be captured as a CUDA graph (" +
        words.substr(0, words.find('\n')) +
        "); set compute.cuda_graphs to false to do without this attempt");
    return nullptr;
  }
  return graphs_.emplace(key, std::move(made)).first->second.get();
}

}  // namespace lockstep::trainer
