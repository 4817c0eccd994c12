#include "trainer/divergence_watch.hpp"

#include <cmath>
#include <cstdio>

namespace lockstep::trainer {
namespace {

/// Standard deviations by which `value` lies above the mean; infinite above a window without any.
double z_score(const std::deque<double>& window, double value) {
  const auto count = static_cast<double>(window.size());
  double sum = 0;
  for (const double each : window) sum += each;
  const double mean = sum / count;
  double squares = 0;
  for (const double each : window) squares += (each - mean) * (each - mean);
  const double deviation = std::sqrt(squares / count);
  if (value <= mean) return 0;
  return deviation > 0 ? (value - mean) / deviation : HUGE_VAL;
}

std::string stands_out(const char* name, const std::deque<double>& window, double value,
                       double limit) {
  if (limit <= 0) return {};
  const double z = z_score(window, value);
  if (z <= limit) return {};
  char text[160];
  std::snprintf(text, sizeof text,
                "%s %.6g is %.1f standard deviations above those of the %zu steps before (the "
                "limit is %.4g)",
                name, value, z, window.size(), limit);
  return text;
}

}  // namespace

std::string DivergenceWatch::problem(double loss, double gradient_norm) const {
  if (!std::isfinite(loss)) return "the loss is no finite number";
  if (!std::isfinite(gradient_norm)) return "the gradient norm is no finite number";
  if (static_cast<std::int64_t>(losses_.size()) < options_.window) return {};
  auto text = stands_out("the loss", losses_, loss, options_.loss_z);
  if (text.empty()) {
    text = stands_out("the gradient norm", norms_, gradient_norm, options_.gradient_z);
  }
  return text;
}

void DivergenceWatch::accept(double loss, double gradient_norm) {
  if (!compares()) return;
  losses_.push_back(loss);
  norms_.push_back(gradient_norm);
  if (static_cast<std::int64_t>(losses_.size()) > options_.window) {
    losses_.pop_front();
    norms_.pop_front();
  }
}

}  // namespace lockstep::trainer
