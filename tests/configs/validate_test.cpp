#include "configs/validate.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

std::string only(const std::vector<std::string>& overrides) {
  return only_problem(problems_of_small(overrides));
}

TEST(Validate, WantsMicroBatchesThatDivideTheGlobalBatch) {
  EXPECT_EQ(only({"train.global_batch=256", "train.micro_batch=24"}),
            "train.micro_batch 24 does not divide train.global_batch 256 (micro-batches have one "
            "size) | nearest that do: 16 or 32");
  EXPECT_EQ(only({"train.global_batch=8", "train.micro_batch=9"}),
            "train.micro_batch 9 does not divide train.global_batch 8 (micro-batches have one "
            "size) | nearest that do: 8");
}

TEST(Validate, GivesUpInvarianceWithoutMicroBatches) {
  const auto loaded = read_small({"~train.micro_batch"});

  EXPECT_EQ(loaded.config.train.reduction, "fast");
  EXPECT_EQ(loaded.origins.at("train.reduction").kind, Origin::Kind::kDefault);
}

TEST(Validate, RefusesInvarianceWithoutMicroBatches) {
  EXPECT_EQ(only({"train.micro_batch=0", "train.reduction=invariant"}),
            "train.reduction is 'invariant' without train.micro_batch (without fixed "
            "micro-batches the result depends on the number of ranks) | "
            "give train.micro_batch, or write 'reduction: fast'");
}

TEST(Validate, KeepsTheReductionThatIsAskedFor) {
  EXPECT_EQ(read_small({"train.reduction=fast"}).config.train.reduction, "fast");
  EXPECT_EQ(read_small({}).config.train.reduction, "invariant");
}

TEST(Validate, WantsExactlyOneOfEpochsAndSteps) {
  EXPECT_EQ(only({"train.steps=4"}),
            "train.epochs 1 and train.steps 4 are both given (either one ends the run) | "
            "remove one of them");
  EXPECT_EQ(only({"~train.epochs"}),
            "train.epochs or train.steps is required (nothing says when the run ends) | "
            "add 'epochs: N' below 'train:'");
  EXPECT_EQ(read_small({"train.epochs=0", "train.steps=4"}).config.train.steps, 4);
}

TEST(Validate, WantsTrainingData) {
  EXPECT_EQ(only({"~data"}),
            "data.train is required (it names the training samples) | "
            "add 'train: FILE.h5' below 'data:'");
}

TEST(Validate, RefusesRanksWithoutWork) {
  EXPECT_EQ(only({"launch.ranks=5"}),
            "5 ranks for 4 micro-batches (a rank without work would wait for ever) | "
            "use at most 4 ranks or a smaller train.micro_batch");
  EXPECT_EQ(read_small({"launch.ranks=4"}).config.launch.ranks, 4);
  EXPECT_EQ(read_small({"launch.ranks=3"}).config.launch.ranks, 3);
}

TEST(Validate, WantsRanksThatDivideTheGlobalBatchWhereThereAreNoMicroBatches) {
  EXPECT_EQ(only({"~train.micro_batch", "launch.ranks=3"}),
            "3 ranks do not divide train.global_batch 8 (without train.micro_batch each rank "
            "computes an equal part) | give train.micro_batch, or use 2 or 4 ranks");
  EXPECT_EQ(read_small({"~train.micro_batch", "launch.ranks=4"}).config.launch.ranks, 4);
}

TEST(Validate, WantsHeadsThatDivideTheWidth) {
  EXPECT_EQ(only({"model={name: gpt, width: 100, heads: 7}"}),
            "model.width 100 is not a multiple of model.heads 7 (each head gets an equal part) | "
            "heads divide the width: 5 or 10");
  EXPECT_EQ(read_small({"model={width: 100, heads: 7}"}).config.model.heads, 7);
}

TEST(Validate, AllowsACnnOneDenseLayer) {
  EXPECT_EQ(only({"model={name: cnn, hidden: [1, 2]}"}),
            "model.hidden has 2 entries (cnn has one dense layer before its output) | "
            "give one number");
  EXPECT_EQ(read_small({"model={name: cnn, hidden: 9}"}).config.model.hidden.size(), 1u);
}

TEST(Validate, BoundsTheStagesOfAConvolutionalNetwork) {
  EXPECT_EQ(problems_of_small({"model.channels=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"}).size(), 1u);
}

TEST(Validate, AllowsMomentumOnlyForSgd) {
  EXPECT_EQ(only({"train.optimizer.momentum=0.9"}),
            "train.optimizer.momentum is given for the optimizer 'adamw' (only sgd has it) | "
            "use betas, or 'name: sgd'");
  EXPECT_EQ(read_small({"train.optimizer={name: sgd, momentum: 0.9, nesterov: true}"})
                .config.train.optimizer.momentum,
            0.9);
}

TEST(Validate, AllowsNesterovOnlyWithMomentum) {
  EXPECT_EQ(only({"train.optimizer={name: sgd, nesterov: true}"}),
            "train.optimizer.nesterov is given without momentum (it looks ahead along it) | "
            "use 'name: sgd' with 'momentum: 0.9', or remove nesterov");
}

TEST(Validate, WantsTwoBetas) {
  EXPECT_EQ(only({"train.optimizer.betas=0.9"}),
            "train.optimizer.betas has 1 entry (for the mean and the mean square) | "
            "give two numbers, such as [0.9, 0.999]");
  EXPECT_EQ(only({"train.optimizer.betas=[]"}),
            "train.optimizer.betas has 0 entries (for the mean and the mean square) | "
            "give two numbers, such as [0.9, 0.999]");
}

TEST(Validate, WantsTheDistanceOfAStepSchedule) {
  EXPECT_EQ(only({"train.schedule.name=step"}),
            "train.schedule.step_size is required by the schedule 'step' (it is the distance of "
            "two drops) | add 'step_size: STEPS'");
  EXPECT_EQ(
      read_small({"train.schedule={name: step, step_size: 3}"}).config.train.schedule.step_size, 3);
}

TEST(Validate, RefusesLabelSmoothingForASquaredError) {
  EXPECT_EQ(only({"train.loss=mse", "train.label_smoothing=0.1"}),
            "train.label_smoothing is given for the loss 'mse' (it spreads classes) | "
            "remove it, or use loss: cross_entropy");
}

TEST(Validate, WantsAMeanAndADeviationForTheSameChannels) {
  EXPECT_EQ(problems_of_small({"data.mean=[1,2,3]", "data.std=[1,2]"}).size(), 1u);
  EXPECT_EQ(read_small({"data.mean=[1,2,3]", "data.std=1"}).config.data.mean.size(), 3u);
}

TEST(Validate, RefusesRunNamesThatAreNoDirectoryNames) {
  for (const auto* name : {"a/b", "..", ".hidden", "latest"}) {
    EXPECT_EQ(problems_of_small({std::string("run.name=") + name}).size(), 1u) << name;
  }
  EXPECT_EQ(read_small({"run.name=amber-heron"}).config.run.name, "amber-heron");
}

RC_GTEST_PROP(Validate, AcceptsExactlyTheDivisors, ()) {
  const auto whole = *rc::gen::inRange<int>(1, 2000);
  const auto piece = *rc::gen::inRange<int>(1, 2100);
  const std::vector<std::string> overrides{"train.global_batch=" + std::to_string(whole),
                                           "train.micro_batch=" + std::to_string(piece)};
  bool accepted = true;

  try {
    read_small(overrides);
  } catch (const ConfigErrors&) {
    accepted = false;
  }

  RC_ASSERT(accepted == (whole % piece == 0));
}

TEST(Validate, LearnsOneHotTargetsAsNumbers) {
  EXPECT_EQ(only({"data.one_hot=true", "train.loss=cross_entropy"}),
            "train.loss is 'cross_entropy' with data.one_hot (its targets are numbers: mse) | "
            "leave it at auto, or remove data.one_hot");
  EXPECT_EQ(only({"data.one_hot=true", "train.label_smoothing=0.1"}),
            "train.label_smoothing is given with data.one_hot (it spreads classes, and these are "
            "numbers) | remove one of them");
  EXPECT_TRUE(read_small({"data.one_hot=true", "train.loss=mse"}).config.data.one_hot);
}

TEST(Validate, AugmentsNoTokens) {
  for (const std::string name :
       {"data.augment.flip", "data.augment.vertical_flip", "data.augment.crop_padding",
        "data.augment.cutout", "data.augment.noise"}) {
    EXPECT_EQ(only({"model.name=gpt", name + "=1"}),
              name + " is given for the model 'gpt' (it cannot be done to tokens) | remove it");
    EXPECT_NO_THROW(read_small({name + "=1"}));
  }
  EXPECT_EQ(only({"model.name=gpt", "data.one_hot=true"}),
            "data.one_hot is given for the model 'gpt' (it cannot be done to tokens) | remove it");
  EXPECT_NO_THROW(read_small({"model.name=gpt", "data.token_windows=shifted"}));
}

}  // namespace
}  // namespace lockstep::configs
