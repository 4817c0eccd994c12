#pragma once
// Gradients of a chain of dense layers without autograd. Each rank puts its samples' activations
// and output gradients into node memory; the owner of a slice of a weight matrix computes that
// slice's gradient over all samples of the step, just before it updates it. So no gradient is ever
// stored or summed, and every sum runs over the samples in their order: its bits depend on neither
// ranks nor micro-batches. Used by TrainStep where it fits. One rank, one thread.

#include <memory>
#include <optional>
#include <vector>

#include "comm/node_memory.hpp"
#include "comm/node_relay.hpp"
#include "comm/reduction_tree.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/objective.hpp"
#include "trainer/parameter_space.hpp"

namespace lockstep::trainer {

struct DenseOptions {
  std::int64_t micro_batch = 0;  ///< samples
  std::vector<comm::LeafRange> micro_batches_of_rank;
  std::vector<comm::LeafRange> slice_of_rank;  ///< flat elements
};

/// A chain's place in the flat memory.
struct DensePlan {
  struct Layer {
    std::int64_t inputs = 0, outputs = 0;
    std::int64_t weight = 0, bias = 0;  ///< flat offsets
  };
  /// A parameter's range of the flat memory.
  struct Piece {
    std::int64_t begin = 0, end = 0;
    std::size_t layer = 0;
    bool bias = false;
  };
  std::vector<Layer> layers;
  std::vector<Piece> pieces;  ///< in the order of the flat memory, without gaps
  DenseActivation activation = DenseActivation::kRelu;

  /// Floats of one sample's record: inputs of each layer, then the gradients of their outputs.
  std::int64_t record_floats() const;
};

/// The plan for a model that consists of a chain of dense layers and nothing else, when the records
/// of `global_batch` samples take no more memory than gradients would, or little.
std::optional<DensePlan> plan_dense(const Model& model, const ParameterLayout& layout,
                                    std::int64_t global_batch);

class DenseGradients final : public GradientSource {
 public:
  /// `space` must outlive this. Throws EnvironmentError when shared memory has too little room.
  /// Collective.
  DenseGradients(RankGroup group, ParameterSpace& space, DensePlan plan, Objective objective,
                 DenseOptions options);

  void compute(std::int64_t step, const std::function<MicroBatch()>& next, double* losses,
               StepTimes& times) override;
  void exchange() override;
  double divisor() const override { return static_cast<double>(samples_); }
  const float* sum(std::int64_t begin, std::int64_t end, float* room) override;
  std::chrono::nanoseconds take_backward_time() override;
  void finish() override;
  comm::NodeBarrier& barrier() override { return memory_->barrier(); }

 private:
  void take_inputs(const std::function<MicroBatch()>& next);
  void run_forward(StepTimes& times);
  void run_loss(double* losses);
  void run_backward(StepTimes& times);
  bool is_shared(const DensePlan::Layer& layer) const;
  FlatRange own_columns(std::int64_t count) const;
  void meet(std::string_view what, Laps& laps, std::chrono::nanoseconds& work, StepTimes& times);
  void activate(std::size_t layer);
  void multiply_by_slope(std::size_t layer);
  torch::Tensor rows_of(std::int64_t first, std::int64_t width);
  void fill_panel(std::int64_t begin, std::int64_t least_end);
  void fill(const DensePlan::Piece& piece, std::int64_t begin, std::int64_t end, float* out);

  RankGroup group_;
  ParameterSpace& space_;
  DensePlan plan_;
  Objective objective_;
  DenseOptions options_;
  comm::NodeRelay relay_;
  std::unique_ptr<comm::NodeMemory> memory_;
  comm::LeafRange range_;     // of this rank's micro-batches
  std::int64_t rows_ = 0;     // samples of this rank
  std::int64_t samples_ = 0;  // of the global batch
  std::int64_t record_ = 0;   // floats from one sample's record to the next
  std::vector<std::int64_t> inputs_at_, gradients_at_;  // in a record, one a layer
  std::vector<comm::ByteRange> records_of_rank_;
  float* records_ = nullptr;       // of all samples of the step
  float* own_records_ = nullptr;   // of this rank's samples
  float* node_records_ = nullptr;  // of the samples of this node's ranks
  std::int64_t node_rows_ = 0;
  std::vector<torch::Tensor> sums_;  // before the activation, where its slope needs them
  std::vector<torch::Tensor> targets_;
  std::vector<float> panel_;  // gradient of the next elements
  std::int64_t panel_begin_ = 0, panel_end_ = 0;
  std::chrono::nanoseconds backward_time_{0};
};

}  // namespace lockstep::trainer
