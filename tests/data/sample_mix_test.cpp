#include "data/sample_mix.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

#include "base/error.hpp"

namespace lockstep::data::detail {
namespace {

TEST(SampleMix, GoesThroughTheFilesInOrderWithoutWeights) {
  const SampleMix mix({3, 0, 2}, {}, 1);

  EXPECT_EQ(mix.samples(), 5);
  EXPECT_EQ(mix.at(2, 7).file, 0u);
  EXPECT_EQ(mix.at(2, 7).sample, 2);
  EXPECT_EQ(mix.at(3, 7).file, 2u);
  EXPECT_EQ(mix.at(4, 7).sample, 1);
}

RC_GTEST_PROP(SampleMix, GivesEachFileItsPartOfAnEpoch, ()) {
  const auto small = *rc::gen::inRange<std::int64_t>(1, 50);
  const auto large = *rc::gen::inRange<std::int64_t>(1, 50);
  const auto weight = *rc::gen::inRange(1, 9);
  const SampleMix mix({small, large}, {weight / 10.0, 1 - weight / 10.0}, 4);

  std::int64_t first = 0;
  for (std::int64_t i = 0; i < mix.samples(); ++i) {
    const auto place = mix.at(i, 2);
    RC_ASSERT(place.sample >= 0 && place.sample < (place.file == 0 ? small : large));
    first += place.file == 0 ? 1 : 0;
  }

  RC_ASSERT(mix.samples() == small + large);
  RC_ASSERT(std::abs(static_cast<double>(first) -
                     static_cast<double>(mix.samples()) * weight / 10.0) <= 1.0);
}

TEST(SampleMix, UsesEverySampleOfALargeFileBeforeOneComesAgain) {
  // A tenth of 60 + 40 samples an epoch are of the file of 60.
  const SampleMix mix({60, 40}, {0.1, 0.9}, 9);
  std::map<std::int64_t, int> seen;

  for (std::int64_t epoch = 0; epoch < 12; ++epoch) {
    for (std::int64_t i = 0; i < mix.samples(); ++i) {
      if (const auto place = mix.at(i, epoch); place.file == 0) ++seen[place.sample];
    }
  }

  EXPECT_EQ(seen.size(), 60u);
  for (const auto& [sample, times] : seen) EXPECT_EQ(times, 2) << sample;
}

TEST(SampleMix, RefusesWeightsThatDoNotFit) {
  EXPECT_THROW(SampleMix({1, 2}, {1.0}, 0), base::ConfigError);
  EXPECT_THROW(SampleMix({1, 2}, {1.0, 0.0}, 0), base::ConfigError);
  EXPECT_THROW(SampleMix({1, 2}, {1.0, -1.0}, 0), base::ConfigError);
}

}  // namespace
}  // namespace lockstep::data::detail
