#pragma once
// A micro-batch's forward and backward pass as one graph of kernels, captured when it has been
// computed often enough for libraries to have made up their minds, and launched from then on. What
// cannot be captured is computed kernel by kernel, with a warning. The bits are the same either
// way. Used by AutogradGradients. One rank, one thread.

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "trainer/device_context.hpp"
#include "trainer/parameter_space.hpp"

namespace lockstep::trainer {

class MicroBatchGraphs {
 public:
  /// Both must outlive this. Without `captures`, or where `device.graphs` is null, nothing is ever
  /// captured.
  MicroBatchGraphs(DeviceContext& device, ParameterSpace& space, bool captures)
      : device_(device), space_(space), gave_up_(!captures || device.graphs == nullptr) {}

  /// What differs between graphs: the addresses and shapes that they are captured with.
  struct Key {
    const void* inputs = nullptr;
    const void* targets = nullptr;
    const void* keys = nullptr;
    const float* target = nullptr;
    Contribution contribution = Contribution::kStore;
    std::vector<std::int64_t> input_shape{};
    auto operator<=>(const Key&) const = default;
  };
  /// Computes a micro-batch by `work`, or by the graph of what `work` did when it was called with
  /// an equal key. Returns what `work` returns, the loss, which lasts until the next call.
  torch::Tensor run(const Key& key, const std::function<torch::Tensor()>& work);
  /// Whether there is a graph of such a micro-batch with these inputs: one launch, which never
  /// waits for room in the device's queue.
  bool has_graph(const void* inputs, const float* target, Contribution contribution) const;
  /// Computes it by `work`, in any case.
  torch::Tensor run_eagerly(const std::function<torch::Tensor()>& work);

 private:
  struct Captured {
    std::unique_ptr<DeviceGraph> graph;
    torch::Tensor loss;
  };
  Captured* captured(const Key& key, const std::function<torch::Tensor()>& work);

  DeviceContext& device_;
  ParameterSpace& space_;
  std::map<Key, std::unique_ptr<Captured>> graphs_;
  std::vector<std::int64_t> counter_changes_;  // of any micro-batch
  std::int64_t computed_ = 0;
  bool gave_up_;
};

}  // namespace lockstep::trainer
