#include "trainer/roc_auc.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace lockstep::trainer {

void log_odds(const float* outputs, std::int64_t classes, float* odds) {
  const auto largest = std::max_element(outputs, outputs + classes) - outputs;
  const double top = outputs[largest];
  double second = -std::numeric_limits<double>::infinity();
  double others = 0;  // exponentials of all but the largest, relative to it
  for (std::int64_t c = 0; c < classes; ++c) {
    if (c == largest) continue;
    second = std::max(second, static_cast<double>(outputs[c]));
    others += std::exp(outputs[c] - top);
  }
  double others_to_second = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    const double distance = outputs[c] - top;
    if (c != largest) {
      others_to_second += std::exp(outputs[c] - second);
      // The largest stays apart: it would swallow what the rest adds up to.
      odds[c] = static_cast<float>(distance - std::log1p(others - std::exp(distance)));
    }
  }
  odds[largest] = static_cast<float>(top - second - std::log(others_to_second));
}

std::uint64_t scored_sample(float score, bool positive) {
  constexpr std::uint32_t kSign = 0x8000'0000;
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);
  const std::uint32_t key = (bits & kSign) != 0 ? ~bits : bits | kSign;
  return (static_cast<std::uint64_t>(key) << 1) | (positive ? 1 : 0);
}

std::optional<double> PairCounts::auc() const {
  if (positives == 0 || negatives == 0) return std::nullopt;
  return static_cast<double>(twice_won) /
         (2 * static_cast<double>(positives) * static_cast<double>(negatives));
}

PairCounts count_pairs(std::span<std::uint64_t> samples) {
  LOCKSTEP_EXPECT(samples.size() < (std::size_t{1} << 31), "too many samples to count pairs of");
  std::ranges::sort(samples);
  PairCounts counts;
  for (auto place = samples.begin(); place != samples.end();) {
    const auto key = *place >> 1;
    std::int64_t positives = 0, negatives = 0;
    for (; place != samples.end() && *place >> 1 == key; ++place) {
      ++((*place & 1) != 0 ? positives : negatives);
    }
    counts.twice_won += positives * (2 * counts.negatives + negatives);
    counts.positives += positives;
    counts.negatives += negatives;
  }
  return counts;
}

ClassScores::ClassScores(std::int64_t classes) : classes_(classes) {
  LOCKSTEP_EXPECT(classes >= 2, "a ROC curve of fewer than two classes");
}

void ClassScores::add(const float* outputs, const std::int64_t* labels, std::int64_t samples) {
  std::vector<float> odds(static_cast<std::size_t>(classes_));
  for (std::int64_t row = 0; row < samples; ++row, outputs += classes_) {
    log_odds(outputs, classes_, odds.data());
    scores_.insert(scores_.end(), odds.end() - scored_classes(), odds.end());
  }
  labels_.insert(labels_.end(), labels, labels + samples);
}

std::vector<PairCounts> ClassScores::compare(comm::Communicator& world) const {
  const int ranks = world.size();
  const auto columns = scored_classes();
  const auto own = static_cast<std::int64_t>(labels_.size());
  std::vector<std::int64_t> samples_of_rank(static_cast<std::size_t>(ranks));
  world.all_gather(std::as_bytes(std::span(&own, 1)),
                   std::as_writable_bytes(std::span(samples_of_rank)), "samples of each rank");
  std::size_t all = 0;
  for (const auto samples : samples_of_rank) all += static_cast<std::size_t>(samples);

  // Columns in groups of one a rank: everybody sends each owner its part of the owner's column.
  std::vector<std::int64_t> counts(static_cast<std::size_t>(columns) * 3);
  std::vector<std::uint64_t> outgoing, column;
  for (std::int64_t first = 0; first < columns; first += ranks) {
    const auto owners = static_cast<int>(std::min<std::int64_t>(ranks, columns - first));
    outgoing.clear();
    for (int owner = 0; owner < owners; ++owner) {
      const auto scored = first + owner;
      const auto label = classes_ == 2 ? 1 : scored;
      for (std::int64_t row = 0; row < own; ++row) {
        outgoing.push_back(scored_sample(scores_[static_cast<std::size_t>(row * columns + scored)],
                                         labels_[static_cast<std::size_t>(row)] == label));
      }
    }
    std::vector<comm::Send> sends;
    std::vector<comm::Receive> receives;
    if (own > 0) {
      for (int owner = 0; owner < owners; ++owner) {
        sends.push_back(
            {owner, std::as_bytes(std::span(outgoing).subspan(static_cast<std::size_t>(owner * own),
                                                              static_cast<std::size_t>(own)))});
      }
    }
    const bool owns = world.rank() < owners;
    if (owns) {
      column.resize(all);
      auto rest = std::span(column);
      for (int rank = 0; rank < ranks; ++rank) {
        const auto part = static_cast<std::size_t>(samples_of_rank[static_cast<std::size_t>(rank)]);
        if (part > 0) receives.push_back({rank, std::as_writable_bytes(rest.first(part))});
        rest = rest.subspan(part);
      }
    }
    if (!sends.empty() || !receives.empty()) world.exchange(sends, receives, "scores of a class");
    if (owns) {
      const auto pairs = count_pairs(column);
      const auto place = static_cast<std::size_t>(first + world.rank()) * 3;
      counts[place] = pairs.positives;
      counts[place + 1] = pairs.negatives;
      counts[place + 2] = pairs.twice_won;
    }
  }
  world.all_reduce(std::span(counts), comm::ReduceOp::kSum, "pairs of samples");
  std::vector<PairCounts> result;
  for (std::size_t place = 0; place < counts.size(); place += 3) {
    result.push_back({counts[place], counts[place + 1], counts[place + 2]});
  }
  return result;
}

}  // namespace lockstep::trainer
