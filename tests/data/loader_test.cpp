#include "data/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "base/error.hpp"
#include "data/synth.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using tests::message_of;

/// Reads nothing: a sample's class is its number.
void read_numbers(std::span<const std::int64_t> rows, Batch& batch) {
  batch.samples = static_cast<std::int64_t>(rows.size());
  batch.rows.assign(rows.begin(), rows.end());
  batch.classes.assign(rows.begin(), rows.end());
}

/// The same in a batch of more than 1 MiB.
void read_large(std::span<const std::int64_t> rows, Batch& batch) {
  read_numbers(rows, batch);
  batch.inputs.resize(300'000);
}

LoaderPlan plan_of(std::int64_t samples, std::int64_t global_batch, std::int64_t micro_batch,
                   std::int64_t steps) {
  LoaderPlan plan;
  plan.samples = samples;
  plan.global_batch = global_batch;
  plan.micro_batch = micro_batch;
  plan.seed = 4;
  plan.micro_end = global_batch / micro_batch;
  plan.last_step = steps;
  return plan;
}

using Key = std::pair<std::int64_t, std::int64_t>;  // step, micro-batch

/// All that a loader of this plan hands out.
std::map<Key, std::vector<std::int64_t>> drain(const LoaderPlan& plan) {
  std::map<Key, std::vector<std::int64_t>> result;
  Loader loader(read_numbers, "numbers", plan, {.depth = 3});
  while (loader.remaining() > 0) {
    auto batch = loader.next();
    result[{batch.step, batch.micro_batch}].assign(batch.classes.begin(), batch.classes.end());
    loader.recycle(std::move(batch));
  }
  return result;
}

TEST(Loader, HandsOutStepsInOrderAndMicroBatchesWithinThem) {
  auto plan = plan_of(10, 6, 2, 4);
  plan.first_step = 1;
  plan.micro_begin = 1;
  Loader loader(read_numbers, "numbers", plan);

  for (const auto& [step, micro_batch] : {Key{1, 1}, {1, 2}, {2, 1}, {2, 2}, {3, 1}, {3, 2}}) {
    const auto batch = loader.next();
    EXPECT_EQ(batch.step, step);
    EXPECT_EQ(batch.micro_batch, micro_batch);
    EXPECT_EQ(batch.epoch, step);
    EXPECT_EQ(batch.samples, 2);
  }
  EXPECT_EQ(loader.remaining(), 0);
  EXPECT_THROW(loader.next(), base::InternalError);
}

RC_GTEST_PROP(Loader, GivesTheSameMicroBatchesOnAnyNumberOfRanks, ()) {
  const auto micro_batches = *rc::gen::inRange<std::int64_t>(1, 9);
  const auto ranks = *rc::gen::inRange<std::int64_t>(1, micro_batches + 1);
  const auto micro_batch = *rc::gen::inRange<std::int64_t>(1, 4);
  const auto global_batch = micro_batches * micro_batch;
  auto plan = plan_of(global_batch * 3 + *rc::gen::inRange<std::int64_t>(0, global_batch),
                      global_batch, micro_batch, 5);
  plan.seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto alone = drain(plan);
  std::map<Key, std::vector<std::int64_t>> together;

  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    plan.micro_begin = micro_batches * rank / ranks;
    plan.micro_end = micro_batches * (rank + 1) / ranks;
    for (auto& [key, rows] : drain(plan)) {
      RC_ASSERT(together.emplace(key, rows).second);
    }
  }

  RC_ASSERT(together == alone);
  std::set<std::int64_t> first_epoch;
  for (const auto& [key, rows] : together) {
    if (key.first < 3) first_epoch.insert(rows.begin(), rows.end());
  }
  RC_ASSERT(static_cast<std::int64_t>(first_epoch.size()) == 3 * global_batch);
}

RC_GTEST_PROP(Loader, StartedAtAStepGoesOnAsIfItHadRunThere, ()) {
  auto plan = plan_of(23, 6, 3, 12);
  const auto all = drain(plan);
  plan.first_step = *rc::gen::inRange<std::int64_t>(0, 12);

  for (const auto& [key, rows] : drain(plan)) RC_ASSERT(all.at(key) == rows);
}

TEST(Loader, HandsOutNothingForAnEmptyRange) {
  auto plan = plan_of(8, 4, 2, 2);
  plan.micro_begin = plan.micro_end = 1;

  EXPECT_EQ(Loader(read_numbers, "numbers", plan).remaining(), 0);
}

TEST(Loader, ThrowsWhatReadingThrewAfterTheBatchesBefore) {
  int reads = 0;
  const auto plan = plan_of(8, 2, 2, 4);
  Loader loader(
      [&](std::span<const std::int64_t> rows, Batch& batch) {
        if (++reads == 3) throw base::DataError("row 5 is bad");
        read_numbers(rows, batch);
      },
      "numbers", plan, {.depth = 4});

  EXPECT_EQ(loader.next().step, 0);
  EXPECT_EQ(loader.next().step, 1);
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(message_of<base::DataError>([&] { loader.next(); }), "row 5 is bad");
  }
}

TEST(Loader, GivesUpWaitingAtItsDeadline) {
  std::promise<void> release;
  auto released = release.get_future().share();
  auto plan = plan_of(8, 2, 2, 4);
  plan.first_step = 3;
  Loader loader([released](std::span<const std::int64_t>, Batch&) { released.wait(); }, "slow.h5",
                plan, {.depth = 1, .deadline = milliseconds(20)});

  const auto message = message_of<base::TimeoutError>([&] { loader.next(); });
  release.set_value();

  EXPECT_THAT(message, HasSubstr("no samples came from 'slow.h5' for step 3 within 20ms"));
}

TEST(Loader, ReadsNoFurtherAheadThanItsDepth) {
  std::atomic<int> reads = 0;
  const auto plan = plan_of(100, 1, 1, 100);
  Loader loader(
      [&](std::span<const std::int64_t> rows, Batch& batch) {
        ++reads;
        read_large(rows, batch);
      },
      "numbers", plan, {.depth = 2});

  for (int taken = 1; taken <= 50; ++taken) {
    loader.recycle(loader.next());
    EXPECT_LE(reads, taken + 2);
  }
}

// Handing over each tiny batch alone made the reader wake for every one of them: three quarters of
// a small model's step.
TEST(Loader, ReadsSmallBatchesAheadByTheDozen) {
  std::atomic<int> reads = 0;
  const auto plan = plan_of(1000, 1, 1, 1000);
  Loader loader(
      [&](std::span<const std::int64_t> rows, Batch& batch) {
        ++reads;
        read_numbers(rows, batch);
      },
      "numbers", plan, {.depth = 2});

  loader.recycle(loader.next());
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (reads < 64 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_GE(reads, 64);
  for (int taken = 2; taken <= 1000; ++taken) {
    loader.recycle(loader.next());
    EXPECT_LE(reads, taken + 64);
  }
}

TEST(Loader, GoesRoundWithTheBuffersItWasGivenBack) {
  const auto plan = plan_of(64, 4, 4, 200);
  Loader loader(read_large, "numbers", plan, {.depth = 3});
  std::set<const void*> buffers;

  while (loader.remaining() > 0) {
    auto batch = loader.next();
    buffers.insert(batch.classes.data());
    loader.recycle(std::move(batch));
  }

  EXPECT_LE(buffers.size(), 5u);
}

TEST(Loader, StopsWithAFullQueue) {
  std::promise<void> filled;
  int reads = 0;
  {
    const Loader loader(
        [&](std::span<const std::int64_t> rows, Batch& batch) {
          read_large(rows, batch);  // small ones are read further ahead than the depth
          if (++reads == 2) filled.set_value();
        },
        "numbers", plan_of(1000, 1, 1, 1000), {.depth = 2});
    filled.get_future().wait();
  }

  EXPECT_EQ(reads, 2);
}

TEST(Loader, RefusesAPlanThatDoesNotFit) {
  EXPECT_THROW(Loader(read_numbers, "numbers", plan_of(8, 9, 3, 1)), base::ConfigError);
  EXPECT_THROW(Loader(read_numbers, "numbers", plan_of(8, 4, 2, 1), {.depth = 0}),
               base::ConfigError);
}

class LoaderOfFile : public ::testing::TestWithParam<ColumnLayout> {};

TEST_P(LoaderOfFile, ReadsWhatTheSourceReads) {
  const tests::TemporaryDirectory directory;
  SynthOptions synth;
  synth.rows = 100;
  synth.shape = {1, 4, 4};
  synth.output = directory.file("f.h5");
  synth.layout = GetParam();
  synthesize(synth);
  SourceOptions options;
  options.paths = {synth.output};
  SampleSource source(options);
  SampleSource reference(options);
  const auto plan = plan_of(100, 8, 4, 30);
  Loader loader(source, plan);
  Batch expected;

  while (loader.remaining() > 0) {
    auto batch = loader.next();
    reference.read(batch.rows, expected);
    ASSERT_EQ(batch.inputs, expected.inputs);
    ASSERT_EQ(batch.classes, expected.classes);
    std::vector<std::int64_t> rows;
    micro_batch_rows(plan, batch.step, batch.micro_batch, rows);
    ASSERT_EQ(batch.rows, rows);
    loader.recycle(std::move(batch));
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, LoaderOfFile,
                         ::testing::Values(ColumnLayout{}, ColumnLayout{.chunk_rows = 7},
                                           ColumnLayout{.chunk_rows = 16, .deflate = 3}));

/// The inputs of each sample in each epoch that a loader of this plan hands out.
std::map<Key, std::vector<float>> augmented(SampleSource& source, const LoaderPlan& plan) {
  std::map<Key, std::vector<float>> result;
  Loader loader(source, plan);
  while (loader.remaining() > 0) {
    auto batch = loader.next();
    const auto elements = batch.inputs.size() / batch.rows.size();
    for (std::size_t i = 0; i < batch.rows.size(); ++i) {
      const auto values = std::span(batch.inputs).subspan(i * elements, elements);
      result[{batch.epoch, batch.rows[i]}].assign(values.begin(), values.end());
    }
    loader.recycle(std::move(batch));
  }
  return result;
}

TEST(Loader, AugmentsASampleAlikeInAnyMicroBatchOnAnyRankFromAnyStart) {
  const tests::TemporaryDirectory directory;
  SynthOptions synth;
  synth.rows = 50;
  synth.shape = {1, 8, 8};
  synth.output = directory.file("f.h5");
  synthesize(synth);
  SourceOptions options;
  options.paths = {synth.output};
  options.seed = 4;
  options.augmentation = {.flip = 0.5, .crop_padding = 3, .cutout = 2, .noise = 0.1};
  SampleSource source(options);
  const auto whole = augmented(source, plan_of(50, 12, 12, 10));
  ASSERT_EQ(whole.size(), 120u);
  for (const auto& [key, inputs] : whole) {
    Batch alone;
    alone.epoch = key.first;
    source.read(std::array{key.second}, alone, ReadFor::kTraining);
    ASSERT_TRUE(std::ranges::equal(alone.inputs, inputs)) << key.first << ' ' << key.second;
  }

  for (const std::int64_t micro_batch : {1, 2, 3, 6}) {
    auto plan = plan_of(50, 12, micro_batch, 10);
    EXPECT_EQ(augmented(source, plan), whole);
    plan.first_step = 3;
    plan.micro_begin = 1;
    for (const auto& [key, inputs] : augmented(source, plan)) EXPECT_EQ(inputs, whole.at(key));
  }
}

TEST(Loader, RefusesMoreSamplesThanTheFileHas) {
  const tests::TemporaryDirectory directory;
  SynthOptions synth;
  synth.rows = 10;
  synth.features = 2;
  synth.output = directory.file("f.h5");
  synthesize(synth);
  SourceOptions options;
  options.paths = {synth.output};
  SampleSource source(options);

  EXPECT_THROW(Loader(source, plan_of(11, 2, 1, 1)), base::InternalError);
}

}  // namespace
}  // namespace lockstep::data
