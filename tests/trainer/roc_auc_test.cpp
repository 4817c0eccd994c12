#include "trainer/roc_auc.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "comm/thread_communicator.hpp"

namespace lockstep::trainer {
namespace {

std::vector<std::uint64_t> scored(const std::vector<std::pair<float, bool>>& samples) {
  std::vector<std::uint64_t> result;
  for (const auto& [score, positive] : samples) result.push_back(scored_sample(score, positive));
  return result;
}

TEST(RocAuc, CountsTiesHalf) {
  // 3 against 1, 2 and 2: won; 2 against 1: won, against 2 and 2: two ties.
  auto samples = scored({{3, true}, {2, true}, {1, false}, {2, false}, {2, false}});

  const auto pairs = count_pairs(samples);

  EXPECT_EQ(pairs.positives, 2);
  EXPECT_EQ(pairs.negatives, 3);
  EXPECT_EQ(pairs.twice_won, 2 * 4 + 2);
  EXPECT_EQ(pairs.auc(), 5.0 / 6);
}

TEST(RocAuc, IsNotDefinedForSamplesOfOneKind) {
  auto samples = scored({{3, true}, {2, true}});
  EXPECT_EQ(count_pairs(samples).auc(), std::nullopt);
  EXPECT_EQ(count_pairs({}).auc(), std::nullopt);
}

RC_GTEST_PROP(RocAuc, IsWhatComparingAllPairsGives, ()) {
  const auto samples = *rc::gen::container<std::vector<std::pair<float, bool>>>(
      rc::gen::pair(rc::gen::oneOf(rc::gen::arbitrary<float>(),
                                   rc::gen::element(-1.5F, -0.0F, 0.0F, 1e-42F, 3.0F)),
                    rc::gen::arbitrary<bool>()));
  std::int64_t twice_won = 0;
  for (const auto& [score, positive] : samples) {
    for (const auto& [other, other_positive] : samples) {
      if (!positive || other_positive) continue;
      twice_won += score > other ? 2 : score == other ? 1 : 0;
    }
  }
  auto keys = scored(samples);

  RC_ASSERT(count_pairs(keys).twice_won == twice_won);
}

TEST(RocAuc, ScoresAreTheLogOddsOfSoftmax) {
  const std::vector<float> outputs{0.5F, -1, 2, 2};
  std::vector<float> odds(4);
  log_odds(outputs.data(), 4, odds.data());

  for (std::size_t c = 0; c < 4; ++c) {
    double others = 0;
    for (std::size_t j = 0; j < 4; ++j) others += j == c ? 0 : std::exp(outputs[j]);
    EXPECT_NEAR(odds[c], outputs[c] - std::log(others), 1e-6) << c;
  }
}

TEST(RocAuc, ScoresOfTwoClassesAreTheirDifferenceHoweverSureTheModelIs) {
  // The probabilities of both samples are 1 in f32 (and in f64): they would tie.
  for (const float lead : {60.0F, 61.0F}) {
    const std::vector<float> outputs{1.0F, 1.0F + lead};
    std::vector<float> odds(2);
    log_odds(outputs.data(), 2, odds.data());
    EXPECT_EQ(odds[1], lead);
    EXPECT_EQ(odds[0], -lead);
  }
}

/// Scores `samples` outputs drawn from few values, so that ties occur, on a number of ranks.
std::vector<PairCounts> compare_on(int ranks, std::int64_t classes, std::int64_t samples) {
  std::vector<float> outputs;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back((i * 7 + i / 5) % classes);
    for (std::int64_t c = 0; c < classes; ++c) {
      outputs.push_back(static_cast<float>((i * 13 + c * 5 + i * c) % 4));
    }
  }
  std::mutex mutex;
  std::vector<std::vector<PairCounts>> results;
  comm::run_on_threads(ranks, [&](comm::Communicator& world) {
    const auto begin = samples * world.rank() / ranks;
    const auto end = samples * (world.rank() + 1) / ranks;
    ClassScores scores(classes);
    scores.add(outputs.data() + begin * classes, labels.data() + begin, end - begin);
    auto pairs = scores.compare(world);
    const std::lock_guard lock(mutex);
    results.push_back(std::move(pairs));
  });
  for (const auto& result : results) {
    for (std::size_t c = 0; c < result.size(); ++c) {
      EXPECT_EQ(result[c].twice_won, results[0][c].twice_won) << "ranks disagree";
    }
  }
  // The reference: every pair of samples.
  for (std::int64_t c = 0; c < classes; ++c) {
    if (classes == 2 && c == 0) continue;
    std::vector<float> score;
    for (std::int64_t i = 0; i < samples; ++i) {
      std::vector<float> odds(static_cast<std::size_t>(classes));
      log_odds(outputs.data() + i * classes, classes, odds.data());
      score.push_back(odds[static_cast<std::size_t>(c)]);
    }
    std::int64_t twice_won = 0;
    for (std::size_t i = 0; i < score.size(); ++i) {
      for (std::size_t j = 0; j < score.size(); ++j) {
        if (labels[i] == c && labels[j] != c) {
          twice_won += score[i] > score[j] ? 2 : score[i] == score[j] ? 1 : 0;
        }
      }
    }
    EXPECT_EQ(results[0][classes == 2 ? 0 : static_cast<std::size_t>(c)].twice_won, twice_won);
  }
  return results[0];
}

TEST(RocAuc, IsTheSameOnAnyRanks) {
  for (const std::int64_t classes : {2, 3, 7}) {
    const auto alone = compare_on(1, classes, 60);
    ASSERT_EQ(alone.size(), classes == 2 ? 1u : static_cast<std::size_t>(classes));
    for (const int ranks : {2, 3, 5}) {
      const auto several = compare_on(ranks, classes, 60);
      for (std::size_t c = 0; c < alone.size(); ++c) {
        EXPECT_EQ(several[c].twice_won, alone[c].twice_won);
        EXPECT_EQ(several[c].auc(), alone[c].auc());
      }
    }
  }
}

TEST(RocAuc, TakesRanksWithoutSamples) { EXPECT_EQ(compare_on(5, 3, 4).size(), 3u); }

}  // namespace
}  // namespace lockstep::trainer
