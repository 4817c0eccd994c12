#include "data/loader_plan.hpp"

#include <string>

#include "base/error.hpp"

namespace lockstep::data {

std::int64_t steps_per_epoch(std::int64_t samples, std::int64_t global_batch) {
  if (global_batch < 1 || global_batch > samples) {
    throw base::ConfigError(
        "global_batch " + std::to_string(global_batch) + " is impossible with " +
        std::to_string(samples) +
        " samples (an epoch would have no whole step); choose one between 1 and "
        "the number of samples");
  }
  return samples / global_batch;
}

void check(const LoaderPlan& plan) {
  steps_per_epoch(plan.samples, plan.global_batch);
  if (plan.micro_batch < 1 || plan.global_batch % plan.micro_batch != 0) {
    throw base::ConfigError("micro_batch " + std::to_string(plan.micro_batch) +
                            " does not divide global_batch " + std::to_string(plan.global_batch) +
                            " (a step is cut into equal micro-batches); choose a divisor");
  }
  const auto micro_batches = plan.global_batch / plan.micro_batch;
  if (plan.micro_begin < 0 || plan.micro_begin > plan.micro_end || plan.micro_end > micro_batches) {
    throw base::ConfigError("micro-batches " + std::to_string(plan.micro_begin) + " to " +
                            std::to_string(plan.micro_end) + " are not a range of the " +
                            std::to_string(micro_batches) +
                            " that a step has; use fewer ranks than micro-batches");
  }
  if (plan.first_step < 0 || plan.first_step > plan.last_step) {
    throw base::ConfigError("steps " + std::to_string(plan.first_step) + " to " +
                            std::to_string(plan.last_step) +
                            " are not a range (the first is after the last); check train.steps");
  }
}

void micro_batch_rows(const LoaderPlan& plan, std::int64_t step, std::int64_t micro_batch,
                      std::vector<std::int64_t>& rows) {
  MicroBatchRows rows_of(plan);
  rows_of(step, micro_batch, rows);
}

void MicroBatchRows::operator()(std::int64_t step, std::int64_t micro_batch,
                                std::vector<std::int64_t>& rows) {
  const auto steps = steps_per_epoch(plan_.samples, plan_.global_batch);
  if (const auto epoch = step / steps; epoch != epoch_) {
    order_.emplace(plan_.samples, plan_.seed, epoch, plan_.order);
    epoch_ = epoch;
  }
  rows.resize(static_cast<std::size_t>(plan_.micro_batch));
  order_->take(step % steps * plan_.global_batch + micro_batch * plan_.micro_batch, rows);
}

}  // namespace lockstep::data
