#pragma once
// Which samples a micro-batch holds: a pure function of the step, whatever the number of ranks.
// Used by Loader, by replay and by whoever proves the order. Pure, any thread.

#include <cstdint>
#include <optional>
#include <vector>

#include "data/sample_order.hpp"

namespace lockstep::data {

struct LoaderPlan {
  std::int64_t samples = 0;
  std::int64_t global_batch = 0;
  std::int64_t micro_batch = 0;  ///< samples; a divisor of global_batch
  std::uint64_t seed = 0;
  OrderOptions order{};
  std::int64_t micro_begin = 0;  ///< this rank's micro-batches of each step: [begin, end)
  std::int64_t micro_end = 0;
  std::int64_t first_step = 0;
  std::int64_t last_step = 0;  ///< one past the last
};

/// Throws ConfigError when the numbers do not fit each other, saying which.
void check(const LoaderPlan& plan);

/// samples / global_batch; the samples that remain are left out of that epoch's order. Throws
/// ConfigError when there is not one whole step.
std::int64_t steps_per_epoch(std::int64_t samples, std::int64_t global_batch);

/// Sample numbers of one micro-batch, in order: positions
/// [(step % steps_per_epoch) * global_batch + micro_batch * plan.micro_batch, + plan.micro_batch)
/// of the SampleOrder of the epoch step / steps_per_epoch.
void micro_batch_rows(const LoaderPlan& plan, std::int64_t step, std::int64_t micro_batch,
                      std::vector<std::int64_t>& rows);

/// The same for one step after another: keeps the order of the epoch.
class MicroBatchRows {
 public:
  explicit MicroBatchRows(const LoaderPlan& plan) : plan_(plan) {}

  void operator()(std::int64_t step, std::int64_t micro_batch, std::vector<std::int64_t>& rows);

 private:
  LoaderPlan plan_;
  std::int64_t epoch_ = -1;
  std::optional<SampleOrder> order_;
};

}  // namespace lockstep::data
