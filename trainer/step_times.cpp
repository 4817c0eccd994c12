#include "trainer/step_times.hpp"

#include <algorithm>

namespace lockstep::trainer {
namespace {

constexpr double kNanosecond = 1e-9;
constexpr double kNotableExcess = 0.10;

std::int64_t work_of(const StepTotals& totals) { return totals.wall - totals.exchange; }

std::int64_t other_of(const StepTotals& totals) {
  return totals.wall - totals.data - totals.forward - totals.backward - totals.exchange -
         totals.optimizer;
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

void StepTotals::add(const StepTimes& times, std::chrono::nanoseconds step_wall) {
  ++steps;
  data += times.data.count();
  forward += times.forward.count();
  backward += times.backward.count();
  exchange += times.exchange.count();
  optimizer += times.optimizer.count();
  hidden += times.hidden.count();
  wall += step_wall.count();
}

checkpoints::StepAnatomy compare_ranks(std::span<const StepTotals> totals,
                                       const std::vector<std::string>& host_of_rank) {
  checkpoints::StepAnatomy anatomy;
  if (totals.empty() || totals.front().steps == 0) return anatomy;
  anatomy.steps = totals.front().steps;
  const auto seconds_of = [&](auto phase) {
    std::vector<double> seconds;
    for (const auto& rank : totals) {
      seconds.push_back(static_cast<double>(phase(rank)) * kNanosecond /
                        static_cast<double>(rank.steps));
    }
    return seconds;
  };
  const auto add = [&](const char* name, auto phase) {
    const auto seconds = seconds_of(phase);
    anatomy.phases.push_back({.name = name,
                              .min = std::ranges::min(seconds),
                              .median = median_of(seconds),
                              .max = std::ranges::max(seconds)});
  };
  add("data", [](const StepTotals& rank) { return rank.data; });
  add("forward", [](const StepTotals& rank) { return rank.forward; });
  add("backward", [](const StepTotals& rank) { return rank.backward; });
  add("exchange", [](const StepTotals& rank) { return rank.exchange; });
  add("optimizer", [](const StepTotals& rank) { return rank.optimizer; });
  add("other", other_of);
  const bool hides = std::ranges::any_of(totals, [](const auto& rank) { return rank.hidden > 0; });
  if (hides) add("hidden exchange", [](const StepTotals& rank) { return rank.hidden; });

  const auto work = seconds_of(work_of);
  // Of two ranks the median is the slower one's: compare with the faster.
  const double usual = totals.size() == 2 ? std::ranges::min(work) : median_of(work);
  const auto slowest = std::ranges::max_element(work);
  if (totals.size() > 1 && *slowest >= usual * (1 + kNotableExcess)) {
    anatomy.straggler = static_cast<int>(slowest - work.begin());
    anatomy.straggler_host = host_of_rank.at(static_cast<std::size_t>(anatomy.straggler));
    anatomy.straggler_excess = *slowest / usual - 1;
  }
  return anatomy;
}

}  // namespace lockstep::trainer
