#include "configs/validate.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "configs/knob_table.hpp"

namespace lockstep::configs {
namespace {

std::string number(std::int64_t value) { return std::to_string(value); }

/// `16 or 32`: the divisors of `whole` next to `wanted`.
std::string nearest_divisors(std::int64_t whole, std::int64_t wanted) {
  std::int64_t below = 1;
  std::int64_t above = whole;
  const auto take = [&](std::int64_t divisor) {
    if (divisor <= wanted) below = std::max(below, divisor);
    if (divisor >= wanted) above = std::min(above, divisor);
  };
  for (std::int64_t i = 1; i * i <= whole; ++i) {
    if (whole % i != 0) continue;
    take(i);
    take(whole / i);
  }
  return below == above || wanted > whole ? number(std::min(below, above))
                                          : number(below) + " or " + number(above);
}

class Validator {
 public:
  Validator(RunConfig& config, const Binding& binding, const Place& main_file, Problems& problems)
      : config_(config), binding_(binding), main_file_(main_file), problems_(problems) {}

  void check_model() {
    const auto& model = config_.model;
    if (judged({"model.name", "model.width", "model.heads"}) && model.name == "gpt" &&
        model.width % model.heads != 0) {
      complain("model.width",
               "model.width " + number(model.width) + " is not a multiple of model.heads " +
                   number(model.heads) + " (each head gets an equal part)",
               "heads divide the width: " + nearest_divisors(model.width, model.heads));
    }
    if (judged({"model.name", "model.hidden"}) && model.name == "cnn" && model.hidden.size() > 1) {
      complain("model.hidden",
               "model.hidden has " + std::to_string(model.hidden.size()) +
                   " entries (cnn has one dense layer before its output)",
               "give one number");
    }
    constexpr std::size_t kMostStages = 16;
    if (judged({"model.channels"}) && model.channels.size() > kMostStages) {
      complain("model.channels",
               "model.channels has " + std::to_string(model.channels.size()) +
                   " entries (each stage halves the image; " + std::to_string(kMostStages) +
                   " are the most)",
               "give fewer");
    }
  }

  void check_data() {
    const auto& data = config_.data;
    if (judged({"data.train"}) && data.train.empty()) {
      complain("data.train", "data.train is required (it names the training samples)",
               "add 'train: FILE.h5' below 'data:'");
    }
    if (judged({"data.mean", "data.std"}) && data.mean.size() > 1 && data.std.size() > 1 &&
        data.mean.size() != data.std.size()) {
      complain("data.std",
               "data.std has " + std::to_string(data.std.size()) + " entries and data.mean " +
                   std::to_string(data.mean.size()) + " (both are one number a channel)",
               "give equally many, or one number");
    }
    if (judged({"data.one_hot", "train.loss"}) && data.one_hot &&
        config_.train.loss == "cross_entropy") {
      complain("train.loss",
               "train.loss is 'cross_entropy' with data.one_hot (its targets are numbers: mse)",
               "leave it at auto, or remove data.one_hot");
    }
    if (judged({"data.one_hot", "train.label_smoothing"}) && data.one_hot &&
        config_.train.label_smoothing > 0) {
      complain("train.label_smoothing",
               "train.label_smoothing is given with data.one_hot (it spreads classes, and these "
               "are numbers)",
               "remove one of them");
    }
  }

  /// A model of tokens has no inputs to augment and no classes of samples.
  void check_tokens() {
    if (!judged({"model.name"}) || config_.model.name != "gpt") return;
    const auto& augment = config_.data.augment;
    const auto check = [&](const char* name, bool given) {
      if (!given || !judged({name})) return;
      complain(name,
               std::string(name) + " is given for the model 'gpt' (it cannot be done to tokens)",
               "remove it");
    };
    check("data.augment.flip", augment.flip > 0);
    check("data.augment.vertical_flip", augment.vertical_flip > 0);
    check("data.augment.crop_padding", augment.crop_padding > 0);
    check("data.augment.cutout", augment.cutout > 0);
    check("data.augment.noise", augment.noise > 0);
    check("data.one_hot", config_.data.one_hot);
  }

  void check_batches() {
    const auto& train = config_.train;
    if (judged({"train.global_batch"}) && train.global_batch == 0) {
      complain("train.global_batch",
               "train.global_batch is required (it is part of what the result depends on)",
               "add 'global_batch: SAMPLES' below 'train:'");
      return;
    }
    if (!judged({"train.global_batch", "train.micro_batch"})) return;
    if (train.micro_batch > 0 && train.global_batch % train.micro_batch != 0) {
      complain("train.micro_batch",
               "train.micro_batch " + number(train.micro_batch) +
                   " does not divide train.global_batch " + number(train.global_batch) +
                   " (micro-batches have one size)",
               "nearest that do: " + nearest_divisors(train.global_batch, train.micro_batch));
      return;
    }
    check_ranks();
  }

  void check_ranks() {
    if (!judged({"launch.ranks"})) return;
    const auto& train = config_.train;
    const auto pieces =
        train.micro_batch > 0 ? train.global_batch / train.micro_batch : train.global_batch;
    const auto ranks = config_.launch.ranks;
    if (ranks > pieces) {
      complain("launch.ranks",
               number(ranks) + " ranks for " + number(pieces) +
                   (train.micro_batch > 0 ? " micro-batches" : " samples a step") +
                   " (a rank without work would wait for ever)",
               "use at most " + number(pieces) + " ranks or a smaller train.micro_batch");
    } else if (train.micro_batch == 0 && train.global_batch % ranks != 0) {
      complain("launch.ranks",
               number(ranks) + " ranks do not divide train.global_batch " +
                   number(train.global_batch) +
                   " (without train.micro_batch each rank computes an equal part)",
               "give train.micro_batch, or use " + nearest_divisors(train.global_batch, ranks) +
                   " ranks");
    }
  }

  void settle_reduction() {
    auto& train = config_.train;
    if (!judged({"train.micro_batch", "train.reduction"}) || train.micro_batch > 0) return;
    if (binding_.values.contains("train.reduction") && train.reduction == "invariant") {
      complain("train.reduction",
               "train.reduction is 'invariant' without train.micro_batch (without fixed "
               "micro-batches the result depends on the number of ranks)",
               "give train.micro_batch, or write 'reduction: fast'");
      return;
    }
    train.reduction = "fast";
  }

  void check_length() {
    const auto& train = config_.train;
    if (!judged({"train.epochs", "train.steps"})) return;
    if (train.epochs > 0 && train.steps > 0) {
      complain("train.steps",
               "train.epochs " + number(train.epochs) + " and train.steps " + number(train.steps) +
                   " are both given (either one ends the run)",
               "remove one of them");
    } else if (train.epochs == 0 && train.steps == 0) {
      complain(binding_.values.contains("train.steps") ? "train.steps" : "train.epochs",
               "train.epochs or train.steps is required (nothing says when the run ends)",
               "add 'epochs: N' below 'train:'");
    }
  }

  void check_loss() {
    const auto& train = config_.train;
    if (judged({"train.loss", "train.label_smoothing"}) && train.loss == "mse" &&
        train.label_smoothing > 0) {
      complain("train.label_smoothing",
               "train.label_smoothing is given for the loss 'mse' (it spreads classes)",
               "remove it, or use loss: cross_entropy");
    }
  }

  void check_optimizer() {
    const auto& optimizer = config_.train.optimizer;
    const std::string prefix = "train.optimizer.";
    if (judged({"train.optimizer.name", "train.optimizer.momentum"}) && optimizer.name != "sgd" &&
        optimizer.momentum > 0) {
      complain(prefix + "momentum",
               prefix + "momentum is given for the optimizer " + base::quote(optimizer.name) +
                   " (only sgd has it)",
               "use betas, or 'name: sgd'");
    }
    if (judged({"train.optimizer.nesterov", "train.optimizer.momentum", "train.optimizer.name"}) &&
        optimizer.nesterov && (optimizer.momentum == 0 || optimizer.name != "sgd")) {
      complain(prefix + "nesterov",
               prefix + "nesterov is given without momentum (it looks ahead along it)",
               "use 'name: sgd' with 'momentum: 0.9', or remove nesterov");
    }
    if (judged({"train.optimizer.betas"}) && optimizer.betas.size() != 2) {
      complain(prefix + "betas",
               prefix + "betas has " + std::to_string(optimizer.betas.size()) +
                   (optimizer.betas.size() == 1 ? " entry" : " entries") +
                   " (for the mean and the mean square)",
               "give two numbers, such as [0.9, 0.999]");
    }
  }

  void check_schedule() {
    const auto& schedule = config_.train.schedule;
    if (judged({"train.schedule.name", "train.schedule.step_size"}) && schedule.name == "step" &&
        schedule.step_size == 0) {
      complain("train.schedule.step_size",
               "train.schedule.step_size is required by the schedule 'step' (it is the distance "
               "of two drops)",
               "add 'step_size: STEPS'");
    }
  }

  void check_run_name() {
    const auto& name = config_.run.name;
    if (!judged({"run.name"}) || name.empty()) return;
    if (name.find('/') != std::string::npos || name.front() == '.' || name == "latest") {
      complain("run.name",
               "run.name " + shown(name) + " cannot be a directory's name in " +
                   shown(config_.run.directory) + " ('latest' is taken)",
               "use letters, digits and '-'");
    }
    if (config_.run.directory.empty()) {
      complain("run.directory", "run.directory is empty (runs are made in it)", "write 'runs'");
    }
  }

 private:
  bool judged(std::initializer_list<const char*> names) const {
    return std::none_of(names.begin(), names.end(),
                        [&](const char* name) { return binding_.refused.contains(name); });
  }

  /// Reports at the knob's value, else at the nearest section that was given, else at the file.
  void complain(const std::string& name, std::string message, std::string advice) {
    const auto value = binding_.values.find(name);
    problems_.add(std::move(message),
                  value != binding_.values.end() ? value->second->place : section_place(name),
                  std::move(advice));
  }

  Place section_place(const std::string& name) const {
    for (auto section = split_name(name).first; !section.empty();
         section = split_name(section).first) {
      const auto key = binding_.keys.find(section);
      // What is missing is missing in the file, even if an override opened the section.
      if (key != binding_.keys.end() && key->second.source->kind == Source::Kind::kFile) {
        return key->second;
      }
    }
    return main_file_;
  }

  RunConfig& config_;
  const Binding& binding_;
  const Place& main_file_;
  Problems& problems_;
};

}  // namespace

void validate(RunConfig& config, const Binding& binding, const Place& main_file,
              Problems& problems) {
  Validator validator(config, binding, main_file, problems);
  validator.check_model();
  validator.check_data();
  validator.check_tokens();
  validator.check_batches();
  validator.settle_reduction();
  validator.check_length();
  validator.check_loss();
  validator.check_optimizer();
  validator.check_schedule();
  validator.check_run_name();
}

}  // namespace lockstep::configs
