#pragma once
// Optimizers as one fused pass over a rank's slice of the flat state: no tensors, no loop over
// parameters. Used by TrainStep. Every number is a pure function of its inputs, element by
// element, so bits depend neither on the slice nor on the instruction set.

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/update_numbers.h"

namespace lockstep::trainer {

enum class OptimizerKind { kSgd, kAdam, kAdamW };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

/// Throws ConfigError for a name that is not sgd, adam or adamw.
OptimizerKind optimizer_kind(const std::string& name);

/// Names of the state buffers, each as long as the parameters: `exp_avg`, `exp_avg_sq`,
/// `momentum_buffer`, or none. Do not change: part of the checkpoint format.
std::vector<std::string> state_names(const OptimizerOptions& options);

class Optimizer {
 public:
  explicit Optimizer(const OptimizerOptions& options) : options_(options) {}

  /// Of optimizer step `step`, 0-based.
  UpdateNumbers numbers(std::int64_t step, double lr) const;
  /// Updates `count` parameters in place. Local.
  /// The formulas are those of torch.optim: SGD (Sutskever et al. 2013 momentum as PyTorch defines
  /// it), Adam (Kingma and Ba 2015, algorithm 1, L2 decay) and AdamW (Loshchilov and Hutter 2019).
  ///   step      optimizer step, 0-based
  ///   scale     factor on each gradient: 1 / micro-batches, times the clipping coefficient
  ///   state     one pointer for each of state_names()
  void update(std::int64_t step, double lr, float scale, float* parameters, const float* gradients,
              float* const* state, std::int64_t count) const;

 private:
  OptimizerOptions options_;
};

/// As Optimizer::update.
void update(const UpdateNumbers& numbers, float scale, float* parameters, const float* gradients,
            float* const* state, std::int64_t count);

/// Sum of squares in double, in an order that depends on `count` alone.
double sum_of_squares(const float* values, std::int64_t count);

}  // namespace lockstep::trainer
