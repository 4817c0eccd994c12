#include "trainer/detailed_evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/evaluation_plan.hpp"
#include "trainer/batch_fold.hpp"
#include "trainer/evaluation.hpp"
#include "trainer/inference.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kDefaultTopK = 5;

/// Of one regression output over some samples, after the sums of the objective.
struct OutputMoments {
  double mean = 0;       ///< of the targets
  double deviation = 0;  ///< squared deviations of the targets from their mean, summed
  double error = 0;      ///< squared errors, summed
};
constexpr std::size_t kMomentColumns = 3;

/// Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
void merge_moments(double* left, const double* right, double left_samples, double right_samples) {
  const double samples = left_samples + right_samples;
  const double apart = right[0] - left[0];
  left[0] += apart * (right_samples / samples);
  left[1] += right[1] + apart * apart * (left_samples * right_samples / samples);
  left[2] += right[2];
}

OutputMoments moments_of(const float* outputs, const float* targets, std::int64_t samples,
                         std::int64_t width) {
  OutputMoments moments;
  for (std::int64_t row = 0; row < samples; ++row) moments.mean += targets[row * width];
  moments.mean /= static_cast<double>(samples);
  for (std::int64_t row = 0; row < samples; ++row) {
    const double deviation = targets[row * width] - moments.mean;
    const double error = static_cast<double>(outputs[row * width]) - targets[row * width];
    moments.deviation += deviation * deviation;
    moments.error += error * error;
  }
  return moments;
}

void require_finite(const torch::Tensor& outputs, std::int64_t first_sample) {
  const auto count = outputs.numel();
  const auto* values = outputs.const_data_ptr<float>();
  const auto* bad =
      std::find_if(values, values + count, [](float value) { return !std::isfinite(value); });
  if (bad == values + count) return;
  const auto sample = first_sample + (bad - values) / (count / outputs.size(0));
  throw base::DivergenceError("the model's outputs for sample " + std::to_string(sample) +
                              " are not all finite numbers (its training diverged, or the sample "
                              "is beyond what it can take); evaluate an older checkpoint");
}

/// One pass over this rank's batches.
class Pass {
 public:
  Pass(RankGroup group, const Objective& objective, const data::SourceInfo& info,
       const data::EvaluationPlan& plan, std::vector<std::int64_t> top_k, bool with_scores)
      : objective_(objective),
        info_(info),
        width_(info.kind == data::TaskKind::kRegression
                   ? std::accumulate(info.target_shape.begin(), info.target_shape.end(),
                                     std::int64_t{1}, std::multiplies<>())
                   : info.classes),
        fold_(columns(), plan, group.world,
              [](std::span<double> left, std::span<const double> right) { combine(left, right); }) {
    if (info.kind == data::TaskKind::kRegression) return;
    const bool classes = info.kind == data::TaskKind::kClassification;
    counts_.emplace(width_, std::move(top_k),
                    !classes                         ? CountDetail::kTotals
                    : width_ <= kMostConfusedClasses ? CountDetail::kConfusion
                                                     : CountDetail::kClasses);
    if (with_scores) scores_.emplace(width_);
  }

  void add(data::Range samples, const Inference::Result& result) {
    const auto outputs = result.outputs.contiguous();
    const auto targets = result.targets.contiguous();
    require_finite(outputs, samples.begin);
    const auto sums = columns_of(objective_.measure(outputs, targets));
    std::vector<double> row{static_cast<double>(samples.size())};
    row.insert(row.end(), sums.begin(), sums.end());
    const auto* values = outputs.const_data_ptr<float>();
    if (info_.kind == data::TaskKind::kRegression) {
      LOCKSTEP_EXPECT(outputs.numel() == targets.numel(), "outputs of another size than targets");
      const auto* wanted = targets.const_data_ptr<float>();
      for (std::int64_t i = 0; i < width_; ++i) {
        const auto moments = moments_of(values + i, wanted + i, samples.size(), width_);
        row.insert(row.end(), {moments.mean, moments.deviation, moments.error});
      }
    } else {
      const auto* labels = targets.const_data_ptr<std::int64_t>();
      counts_->add(values, labels, targets.numel());
      if (scores_) scores_->add(values, labels, targets.numel());
    }
    fold_.add(std::move(row));
  }

  EvaluationReport report(RankGroup group) {
    EvaluationReport report;
    report.kind = info_.kind;
    const auto row = fold_.finish("evaluation sums");
    report.samples = static_cast<std::int64_t>(row[0]);
    const auto named = objective_.metrics(sums_of(std::span(row).subspan<1, kMetricColumns>()));
    report.metrics.emplace_back("loss", named.at("loss"));
    if (info_.kind == data::TaskKind::kRegression) {
      report.metrics.emplace_back("mse", named.at("loss"));
      report.metrics.emplace_back("mae", named.at("mae"));
      report.metrics.emplace_back("r2", r2_of(row));
      return report;
    }
    if (const auto found = named.find("perplexity"); found != named.end()) {
      report.metrics.emplace_back("perplexity", found->second);
    }
    group.world.all_reduce(counts_->values(), comm::ReduceOp::kSum, "counts of classes");
    add_counts(report, *counts_);
    if (scores_) add_roc_auc(report, scores_->compare(group.world));
    return report;
  }

 private:
  std::size_t columns() const {
    const bool regression = info_.kind == data::TaskKind::kRegression;
    return 1 + kMetricColumns +
           (regression ? kMomentColumns * static_cast<std::size_t>(width_) : 0);
  }

  static void combine(std::span<double> left, std::span<const double> right) {
    constexpr auto kSums = 1 + kMetricColumns;
    for (auto i = kSums; i < left.size(); i += kMomentColumns) {
      merge_moments(&left[i], &right[i], left[0], right[0]);
    }
    add_rows(left.first(kSums), right.first(kSums));
  }

  static std::optional<double> r2_of(std::span<const double> row) {
    double sum = 0;
    std::int64_t outputs = 0;
    for (auto i = 1 + kMetricColumns; i < row.size(); i += kMomentColumns) {
      if (row[i + 1] == 0) continue;
      sum += 1 - row[i + 2] / row[i + 1];
      ++outputs;
    }
    if (outputs == 0) return std::nullopt;
    return sum / static_cast<double>(outputs);
  }

  const Objective& objective_;
  const data::SourceInfo& info_;
  std::int64_t width_;  // classes, or numbers of a target
  BatchFold fold_;      // samples, the objective's sums, moments of each output
  std::optional<ClassCounts> counts_;
  std::optional<ClassScores> scores_;
};

std::vector<std::int64_t> top_k_of(const data::SourceInfo& info, std::vector<std::int64_t> wanted) {
  if (info.kind == data::TaskKind::kRegression) {
    if (wanted.empty()) return {};
    throw base::ConfigError(
        "top-k of a regression cannot be computed (its targets are numbers, no classes); leave "
        "--top-k out");
  }
  if (wanted.empty()) {
    return info.classes > kDefaultTopK ? std::vector{kDefaultTopK} : std::vector<std::int64_t>{};
  }
  for (const auto k : wanted) {
    if (k >= 1 && k <= info.classes) continue;
    throw base::ConfigError("top-k " + std::to_string(k) + " cannot be computed (there are " +
                            std::to_string(info.classes) + " classes); give --top-k numbers from " +
                            "1 to " + std::to_string(info.classes));
  }
  return wanted;
}

}  // namespace

EvaluationReport evaluate_in_detail(RankGroup group, ParameterSpace& space,
                                    const Objective& objective, data::SampleSource& source,
                                    const DetailedEvaluationOptions& options) {
  const auto& info = source.info();
  auto top_k = top_k_of(info, options.top_k);
  const bool classes = info.kind == data::TaskKind::kClassification && info.classes >= 2;
  const auto scores = info.samples * (info.classes == 2 ? 1 : info.classes);
  const bool too_many = options.roc_auc == RocAuc::kAuto && scores > kMostScores;
  const bool with_scores = classes && options.roc_auc != RocAuc::kOff && !too_many;

  const data::EvaluationPlan plan(info.samples, options.batch);
  const auto range = plan.batches_of(group.world.rank(), group.world.size());
  Pass pass(group, objective, info, plan, std::move(top_k), with_scores);
  Inference inference(space, source);
  for (auto index = range.begin; index < range.end; ++index) {
    const auto samples = plan.samples_of(index);
    pass.add(samples, inference.run(samples));
  }
  auto report = pass.report(group);
  if (classes && too_many) {
    report.notes.push_back("no ROC-AUC: it would compare " +
                           base::format_count(static_cast<std::uint64_t>(scores)) +
                           " scores; ask for it with --roc-auc on");
  }
  if (classes && info.classes > kMostConfusedClasses) {
    report.notes.push_back("no confusion matrix of more than " +
                           base::format_count(kMostConfusedClasses) + " classes");
  }
  return report;
}

}  // namespace lockstep::trainer
