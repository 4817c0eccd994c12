#include "trainer/optimizer.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <torch/torch.h>

#include "base/error.hpp"

namespace lockstep::trainer {
namespace {

struct Flat {
  std::vector<float> parameters, gradients, first, second;

  explicit Flat(std::int64_t count) : first(count), second(count) {
    torch::manual_seed(7);
    const auto p = torch::randn({count}), g = torch::randn({count});
    parameters.assign(p.data_ptr<float>(), p.data_ptr<float>() + count);
    gradients.assign(g.data_ptr<float>(), g.data_ptr<float>() + count);
  }

  void update(const Optimizer& optimizer, std::int64_t step, double lr, std::int64_t begin,
              std::int64_t end) {
    float* state[] = {first.data() + begin, second.data() + begin};
    optimizer.update(step, lr, 1.0F, parameters.data() + begin, gradients.data() + begin, state,
                     end - begin);
  }
};

/// Twenty steps of ours and of torch.optim on the same gradients.
template <class TorchOptimizer, class TorchOptions>
void expect_equal_to_torch(const OptimizerOptions& ours, TorchOptions theirs, double lr) {
  constexpr std::int64_t kCount = 301;
  Flat flat(kCount);
  auto parameter = torch::tensor(flat.parameters).set_requires_grad(true);
  parameter.mutable_grad() = torch::tensor(flat.gradients);
  TorchOptimizer reference({parameter}, theirs);
  const Optimizer optimizer(ours);

  for (std::int64_t step = 0; step < 20; ++step) {
    flat.update(optimizer, step, lr, 0, kCount);
    reference.step();
  }

  EXPECT_TRUE(torch::allclose(torch::tensor(flat.parameters), parameter.detach(), 1e-5, 1e-6));
}

TEST(Optimizer, SgdWithMomentumAndDecayEqualsTorch) {
  expect_equal_to_torch<torch::optim::SGD>(
      {.kind = OptimizerKind::kSgd, .momentum = 0.9, .weight_decay = 0.01},
      torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(0.01), 0.1);
}

TEST(Optimizer, PlainSgdEqualsTorch) {
  expect_equal_to_torch<torch::optim::SGD>({.kind = OptimizerKind::kSgd},
                                           torch::optim::SGDOptions(0.1), 0.1);
}

TEST(Optimizer, NesterovEqualsTorch) {
  expect_equal_to_torch<torch::optim::SGD>(
      {.kind = OptimizerKind::kSgd, .momentum = 0.9, .nesterov = true},
      torch::optim::SGDOptions(0.1).momentum(0.9).nesterov(true), 0.1);
}

TEST(Optimizer, AdamWithL2EqualsTorch) {
  expect_equal_to_torch<torch::optim::Adam>({.kind = OptimizerKind::kAdam, .weight_decay = 0.1},
                                            torch::optim::AdamOptions(0.01).weight_decay(0.1),
                                            0.01);
}

TEST(Optimizer, AdamWEqualsTorch) {
  expect_equal_to_torch<torch::optim::AdamW>(
      {.kind = OptimizerKind::kAdamW, .weight_decay = 0.1, .beta1 = 0.8, .beta2 = 0.95},
      torch::optim::AdamWOptions(0.01).weight_decay(0.1).betas({0.8, 0.95}), 0.01);
}

RC_GTEST_PROP(Optimizer, BitsDoNotDependOnWhereASliceIsCut, ()) {
  const auto count = *rc::gen::inRange<std::int64_t>(1, 200);
  const auto cut = *rc::gen::inRange<std::int64_t>(0, count + 1);
  const Optimizer optimizer({.kind = OptimizerKind::kAdamW, .weight_decay = 0.1});
  Flat whole(count), cut_in_two(count);

  for (std::int64_t step = 0; step < 3; ++step) {
    whole.update(optimizer, step, 0.01, 0, count);
    cut_in_two.update(optimizer, step, 0.01, 0, cut);
    cut_in_two.update(optimizer, step, 0.01, cut, count);
  }

  RC_ASSERT(whole.parameters == cut_in_two.parameters);
  RC_ASSERT(whole.second == cut_in_two.second);
}

TEST(Optimizer, SumOfSquaresIsTheSumOfSquares) {
  const std::vector<float> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};

  EXPECT_EQ(sum_of_squares(values.data(), 17), 1785);
  EXPECT_EQ(sum_of_squares(values.data(), 3), 14);
  EXPECT_EQ(sum_of_squares(values.data(), 0), 0);
}

TEST(Optimizer, StateNamesFollowTheKind) {
  EXPECT_TRUE(state_names({.kind = OptimizerKind::kSgd}).empty());
  EXPECT_EQ(state_names({.kind = OptimizerKind::kSgd, .momentum = 0.9}),
            std::vector<std::string>{"momentum_buffer"});
  EXPECT_EQ(state_names({.kind = OptimizerKind::kAdam}),
            (std::vector<std::string>{"exp_avg", "exp_avg_sq"}));
  EXPECT_THROW(optimizer_kind("adamx"), base::ConfigError);
}

}  // namespace
}  // namespace lockstep::trainer
