#pragma once
// Everything `evaluate` reports about a model: exact, each sample once, and with the same bits at
// any number of ranks. The evaluation inside training is the cheaper evaluation.hpp.
// One rank, one thread.

#include <cstdint>
#include <vector>

#include "data/source.hpp"
#include "trainer/evaluation_report.hpp"
#include "trainer/objective.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

enum class RocAuc {
  kAuto,  ///< up to kMostScores scores over all ranks (samples times classes), else a note
  kOn,    ///< at any size
  kOff,
};
inline constexpr std::int64_t kMostScores = std::int64_t{1} << 26;

/// More classes than that have no confusion matrix: it would outgrow everything else.
inline constexpr std::int64_t kMostConfusedClasses = 1024;

struct DetailedEvaluationOptions {
  std::int64_t batch = 256;           ///< samples of one forward pass; part of the bits
  std::vector<std::int64_t> top_k{};  ///< empty = 5 when there are more than 5 classes
  RocAuc roc_auc = RocAuc::kAuto;
};

/// All metrics of `source` under the model as it stands: for classes accuracy, top-k, a report a
/// class, confusion matrix and ROC-AUC; for tokens perplexity, accuracy and top-k; for numbers mse,
/// mae and r2 (mean over the outputs, of those whose targets differ). Of equal outputs the lower
/// class comes first. Loss and the metrics that both know are bit for bit those of `evaluate`.
/// Throws ConfigError for a top-k of more than the classes, DivergenceError naming the first sample
/// whose outputs are not all finite. Collective.
EvaluationReport evaluate_in_detail(RankGroup group, ParameterSpace& space,
                                    const Objective& objective, data::SampleSource& source,
                                    const DetailedEvaluationOptions& options);

}  // namespace lockstep::trainer
