#pragma once
// The area under the ROC curve, exactly: the share of (positive, negative) pairs of samples in
// which the positive one has the higher score, ties counted half (Hanley and McNeil 1982). The
// pairs are counted as whole numbers, so the result depends neither on order nor on ranks.
// Used by the detailed evaluation. One rank, one thread.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.hpp"

namespace lockstep::trainer {

/// For each of `classes` (two or more) finite outputs its log-odds, as softmax gives them: log of
/// the class's probability against that of all others together. Orders samples as the probability
/// does, and does not stick at 1. With two classes simply their difference.
void log_odds(const float* outputs, std::int64_t classes, float* odds);

/// A score and whether its sample is of the class, in one number that sorts by score.
/// -0 is 0; no NaN.
std::uint64_t scored_sample(float score, bool positive);

struct PairCounts {
  std::int64_t positives = 0;
  std::int64_t negatives = 0;
  std::int64_t twice_won = 0;  ///< twice the pairs that the positive wins, and once the ties

  /// Nothing when all samples are of one kind.
  std::optional<double> auc() const;
};

/// Counts the pairs of fewer than 2^31 samples; sorts them in place.
PairCounts count_pairs(std::span<std::uint64_t> samples);

/// Scores of this rank's samples for every class, 4 bytes each, until they are compared.
class ClassScores {
 public:
  /// With two classes only the second one is scored: the first one's AUC is the same.
  explicit ClassScores(std::int64_t classes);

  /// `outputs` [samples, classes] f32, `labels` [samples].
  void add(const float* outputs, const std::int64_t* labels, std::int64_t samples);

  /// One against the rest for each scored class, over all ranks' samples, and the same on every
  /// rank. The classes are sorted by different ranks at a time; each needs 24 bytes a sample of
  /// the whole set besides its own scores. Collective.
  std::vector<PairCounts> compare(comm::Communicator& world) const;

 private:
  std::int64_t scored_classes() const { return classes_ == 2 ? 1 : classes_; }

  std::int64_t classes_;
  std::vector<float> scores_;         // [samples, scored_classes]
  std::vector<std::int64_t> labels_;  // [samples]
};

}  // namespace lockstep::trainer
