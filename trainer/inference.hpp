#pragma once
// Forward passes over ranges of a dataset, as evaluation and prediction make them.
// One rank, one thread. While it exists no gradients are recorded on this thread and the model is
// in evaluation mode; afterwards it is in training mode.

#include <cstdint>
#include <vector>

#include "data/evaluation_plan.hpp"
#include "data/source.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/objective.hpp"
#include "trainer/parameter_space.hpp"

namespace lockstep::trainer {

/// Samples of one forward pass that evaluates or predicts: `batch`, or fewer where their outputs
/// would be more than 2^26 numbers. A function of configuration and data alone.
std::int64_t inference_batch(std::int64_t batch, const data::SourceInfo& info);

class Inference {
 public:
  /// Both must outlive it.
  Inference(ParameterSpace& space, data::SampleSource& source);
  ~Inference();
  Inference(const Inference&) = delete;
  Inference& operator=(const Inference&) = delete;

  struct Result {
    torch::Tensor outputs;
    torch::Tensor targets;  ///< as Objective wants them; valid until the next call
  };
  /// The model's outputs for the samples in `range`, in order. Throws DataError. Local.
  Result run(data::Range range);
  /// Objective::measure of the same, where the model computes: the outputs need not be there all
  /// at once. Throws DataError. Local.
  MetricSums measure(data::Range range, const Objective& objective);

 private:
  MicroBatch read(data::Range range);

  torch::NoGradGuard no_grad_;
  ParameterSpace& space_;
  data::SampleSource& source_;
  data::Batch batch_;
  std::vector<std::int64_t> rows_;
};

}  // namespace lockstep::trainer
