#pragma once
// Whether a step diverged: its loss or gradient norm is no finite number, or stands too far above
// those of the steps before. A pure function of the numbers of the steps, which all ranks share,
// so all ranks decide the same. One thread.

#include <cstdint>
#include <deque>
#include <string>

namespace lockstep::trainer {

struct DivergenceOptions {
  double loss_z = 0;      ///< standard deviations above the window's mean; 0 = finite is enough
  double gradient_z = 0;  ///< the same for the gradient norm
  std::int64_t window = 100;
};

class DivergenceWatch {
 public:
  explicit DivergenceWatch(DivergenceOptions options) : options_(options) {}

  /// Whether steps before matter at all.
  bool compares() const { return options_.loss_z > 0 || options_.gradient_z > 0; }
  std::int64_t window() const { return options_.window; }

  /// What is wrong with a step of this loss and gradient norm; empty when nothing is. Nothing
  /// stands out before a whole window of steps was accepted.
  std::string problem(double loss, double gradient_norm) const;
  /// Takes the step's numbers into the window.
  void accept(double loss, double gradient_norm);

 private:
  DivergenceOptions options_;
  std::deque<double> losses_;
  std::deque<double> norms_;
};

}  // namespace lockstep::trainer
