#include "trainer/optimizer.hpp"

#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/vector_clones.hpp"

// The same scalar formulas for each instruction set; without fused multiply-add (see
// lockstep_flags) the variants agree bit for bit.
namespace lockstep::trainer {
namespace {

LOCKSTEP_VECTOR_CLONES void sgd_plain(SgdNumbers n, float scale, float* __restrict p,
                                      const float* __restrict g, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    p[i] -= n.lr * (g[i] * scale + n.weight_decay * p[i]);
  }
}

LOCKSTEP_VECTOR_CLONES void sgd_momentum(SgdNumbers n, float scale, float* __restrict p,
                                         const float* __restrict g, float* __restrict buffer,
                                         std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float gradient = g[i] * scale + n.weight_decay * p[i];
    buffer[i] = n.momentum * buffer[i] + gradient;
    p[i] -= n.lr * buffer[i];
  }
}

LOCKSTEP_VECTOR_CLONES void sgd_nesterov(SgdNumbers n, float scale, float* __restrict p,
                                         const float* __restrict g, float* __restrict buffer,
                                         std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float gradient = g[i] * scale + n.weight_decay * p[i];
    buffer[i] = n.momentum * buffer[i] + gradient;
    p[i] -= n.lr * (gradient + n.momentum * buffer[i]);
  }
}

LOCKSTEP_VECTOR_CLONES void adam(AdamNumbers n, float scale, float* __restrict p,
                                 const float* __restrict g, float* __restrict m,
                                 float* __restrict v, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float gradient = g[i] * scale + n.l2 * p[i];
    m[i] = n.beta1 * m[i] + n.one_minus_beta1 * gradient;
    v[i] = n.beta2 * v[i] + n.one_minus_beta2 * (gradient * gradient);
    const float denominator = std::sqrt(v[i]) * n.inverse_bias2_root + n.eps;
    p[i] = p[i] * n.keep - n.step_size * (m[i] / denominator);
  }
}

LOCKSTEP_VECTOR_CLONES double squares(const float* values, std::int64_t count) {
  std::array<double, 16> lanes{};
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (std::int64_t lane = 0; lane < 16; ++lane) {
      const double value = values[i + lane];
      lanes[static_cast<std::size_t>(lane)] += value * value;
    }
  }
  for (; i < count; ++i) {
    const double value = values[i];
    lanes[static_cast<std::size_t>(i % 16)] += value * value;
  }
  for (std::size_t width = 8; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace

OptimizerKind optimizer_kind(const std::string& name) {
  if (name == "sgd") return OptimizerKind::kSgd;
  if (name == "adam") return OptimizerKind::kAdam;
  if (name == "adamw") return OptimizerKind::kAdamW;
  throw base::ConfigError("optimizer " + base::quote(name) +
                          " is unknown (sgd, adam and adamw exist); choose one");
}

std::vector<std::string> state_names(const OptimizerOptions& options) {
  if (options.kind != OptimizerKind::kSgd) return {"exp_avg", "exp_avg_sq"};
  if (options.momentum != 0) return {"momentum_buffer"};
  return {};
}

UpdateNumbers Optimizer::numbers(std::int64_t step, double lr) const {
  UpdateNumbers numbers;
  if (options_.kind == OptimizerKind::kSgd) {
    numbers.rule = options_.momentum == 0 ? UpdateRule::kSgd
                   : options_.nesterov    ? UpdateRule::kSgdNesterov
                                          : UpdateRule::kSgdMomentum;
    numbers.sgd = {.lr = static_cast<float>(lr),
                   .momentum = static_cast<float>(options_.momentum),
                   .weight_decay = static_cast<float>(options_.weight_decay)};
    return numbers;
  }
  const auto t = static_cast<double>(step + 1);
  const double bias1 = 1 - std::pow(options_.beta1, t);
  const double bias2 = 1 - std::pow(options_.beta2, t);
  const bool decoupled = options_.kind == OptimizerKind::kAdamW;
  numbers.rule = UpdateRule::kAdam;
  numbers.adam = {
      .step_size = static_cast<float>(lr / bias1),
      .beta1 = static_cast<float>(options_.beta1),
      .beta2 = static_cast<float>(options_.beta2),
      .one_minus_beta1 = static_cast<float>(1 - options_.beta1),
      .one_minus_beta2 = static_cast<float>(1 - options_.beta2),
      .inverse_bias2_root = static_cast<float>(1 / std::sqrt(bias2)),
      .eps = static_cast<float>(options_.eps),
      .keep = decoupled ? static_cast<float>(1 - lr * options_.weight_decay) : 1.0F,
      .l2 = decoupled ? 0.0F : static_cast<float>(options_.weight_decay),
  };
  return numbers;
}

void Optimizer::update(std::int64_t step, double lr, float scale, float* parameters,
                       const float* gradients, float* const* state, std::int64_t count) const {
  trainer::update(numbers(step, lr), scale, parameters, gradients, state, count);
}

void update(const UpdateNumbers& numbers, float scale, float* parameters, const float* gradients,
            float* const* state, std::int64_t count) {
  const auto& sgd = numbers.sgd;
  switch (numbers.rule) {
    case UpdateRule::kSgd: return sgd_plain(sgd, scale, parameters, gradients, count);
    case UpdateRule::kSgdMomentum:
      return sgd_momentum(sgd, scale, parameters, gradients, state[0], count);
    case UpdateRule::kSgdNesterov:
      return sgd_nesterov(sgd, scale, parameters, gradients, state[0], count);
    case UpdateRule::kAdam:
      return adam(numbers.adam, scale, parameters, gradients, state[0], state[1], count);
  }
}

double sum_of_squares(const float* values, std::int64_t count) { return squares(values, count); }

}  // namespace lockstep::trainer
