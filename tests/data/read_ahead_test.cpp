// Threads that decode what a loader will read: they may change its speed alone.

#include "data/read_ahead.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "data/loader.hpp"
#include "data/mapped_file.hpp"
#include "data/private_memory.hpp"
#include "data/source.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::HasSubstr;
using tests::message_of;

constexpr std::int64_t kRows = 600;
constexpr std::size_t kWidth = 5;

LoaderPlan plan_of(std::int64_t samples, OrderOptions order, std::int64_t epochs = 2) {
  LoaderPlan plan;
  plan.samples = samples;
  plan.global_batch = 20;
  plan.micro_batch = 5;
  plan.micro_begin = 1;
  plan.micro_end = 3;
  plan.order = order;
  plan.last_step = epochs * steps_per_epoch(samples, plan.global_batch);
  return plan;
}

/// Spoils one of the longer deflate streams of a file, those of its inputs; each begins with the
/// header of level 4.
void damage_inputs_in_the_middle(const std::string& path) {
  std::stringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  const auto bytes = content.str();
  const std::string header = "\x78\x5e";
  constexpr std::size_t kLong = 120;
  auto at = bytes.find(header, bytes.size() / 2);
  for (auto next = bytes.find(header, at + 1); next - at < kLong;) {
    at = std::exchange(next, bytes.find(header, next + 1));
  }
  ASSERT_LT(at, bytes.size());
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at + 2));
  file << "damaged!";
}

class ReadAheadOfFiles : public ::testing::Test {
 protected:
  std::string write(const std::string& name, ColumnLayout layout, std::int64_t rows = kRows) {
    const auto path = directory_.file(name);
    DatasetWriter writer(path);
    std::vector<float> inputs(static_cast<std::size_t>(rows) * kWidth);
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(i * 7 % 1009);
    std::vector<std::uint8_t> classes(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<std::uint8_t>(i % 3);
    tests::add_column<float>(writer, "x", DType::kF32, {rows, static_cast<std::int64_t>(kWidth)},
                             inputs, layout);
    tests::add_column<std::uint8_t>(writer, "y", DType::kU8, {rows}, classes, layout);
    writer.commit();
    return path;
  }

  /// All inputs and classes that a loader hands out.
  static std::vector<float> loaded(SourceOptions options, OrderOptions order,
                                   std::size_t cache_bytes, std::int64_t threads) {
    SampleSource source(std::move(options));
    const auto bytes = source.plan_cache(cache_bytes, order.window_samples());
    const detail::PrivateMemory cache(bytes);
    source.share_cache(cache.bytes());
    std::vector<float> values;
    Loader loader(source, plan_of(source.info().samples, order), {.decode_threads = threads});
    while (loader.remaining() > 0) {
      const auto batch = loader.next();
      values.insert(values.end(), batch.inputs.begin(), batch.inputs.end());
      values.insert(values.end(), batch.classes.begin(), batch.classes.end());
    }
    return values;
  }

  tests::TemporaryDirectory directory_;
};

TEST_F(ReadAheadOfFiles, ChangesNoSampleWhateverTheLayoutOrderAndCache) {
  const auto plain = write("plain.h5", {});
  const auto packed = write("packed.h5", {.chunk_rows = 16, .deflate = 4});
  const auto other = write("other.h5", {.chunk_rows = 7, .deflate = 1}, 220);
  const OrderOptions block{.kind = OrderKind::kBlock, .block_samples = 16, .window_blocks = 4};
  for (const auto& options : {SourceOptions{.paths = {plain}}, SourceOptions{.paths = {packed}},
                              SourceOptions{.paths = {packed, other}, .weights = {1, 2}}}) {
    for (const auto& order : {OrderOptions{}, OrderOptions{.shuffle = Shuffle::kOff}, block}) {
      for (const std::size_t cache_bytes :
           {std::size_t{0}, std::size_t{9000}, std::size_t{1} << 20}) {
        const auto alone = loaded(options, order, cache_bytes, 0);
        EXPECT_EQ(loaded(options, order, cache_bytes, 1), alone);
        EXPECT_EQ(loaded(options, order, cache_bytes, 3), alone);
      }
    }
  }
}

TEST_F(ReadAheadOfFiles, BringsTheTokensOfShiftedWindows) {
  const auto path = directory_.file("tokens.h5");
  DatasetWriter writer(path);
  std::vector<std::uint8_t> tokens(4000);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::uint8_t>(i * i % 251);
  tests::add_column<std::uint8_t>(writer, "tokens", DType::kU8, {4000}, tokens,
                                  {.chunk_rows = 64, .deflate = 4});
  writer.commit();
  SourceOptions options{.paths = {path}, .context = 10, .token_windows = TokenWindows::kShifted};

  EXPECT_EQ(loaded(options, {}, 1 << 20, 2), loaded(options, {}, 1 << 20, 0));
}

TEST_F(ReadAheadOfFiles, LeavesADamagedChunkToTheReaderAndItsPlaceInTheOrder) {
  constexpr std::int64_t kMany = 8000;
  const auto path = write("packed.h5", {.chunk_rows = 20, .deflate = 4}, kMany);
  damage_inputs_in_the_middle(path);
  const auto batches_before_the_error = [&](std::int64_t threads) {
    SampleSource source({.paths = {path}});
    Loader loader(source, plan_of(kMany, {.shuffle = Shuffle::kOff}), {.decode_threads = threads});
    std::int64_t batches = 0;
    const auto message = message_of<base::DataError>([&] {
      for (;; ++batches) loader.next();
    });
    EXPECT_THAT(message, HasSubstr("the chunk there"));
    return std::pair(batches, message);
  };
  const auto alone = batches_before_the_error(0);
  EXPECT_GT(alone.first, 0);
  EXPECT_EQ(batches_before_the_error(2), alone);
}

TEST_F(ReadAheadOfFiles, SeesWhatOfAFileIsInMemory) {
  const detail::FileDescriptor file(write("plain.h5", {}));
  const detail::MappedFile mapped(file);
  mapped.bring_in(mapped.bytes());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!mapped.in_memory(mapped.bytes()) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(mapped.in_memory(mapped.bytes()));
  const std::byte elsewhere{};
  mapped.bring_in({&elsewhere, 1});
  EXPECT_TRUE(mapped.in_memory({&elsewhere, 1}));
}

TEST(ReadAhead, StaysWithinItsDistanceOfTheReader) {
  std::atomic<std::int64_t> brought{0};
  const auto plan = plan_of(kRows, {});
  ReadAhead ahead(plan, {[&](auto, std::int64_t) { ++brought; }}, 3);
  const auto settles_at = [&](std::int64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (brought < count && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return brought == count;
  };
  EXPECT_TRUE(settles_at(3));
  ahead.reached(0);
  EXPECT_TRUE(settles_at(4));
  ahead.reached(10);
  // What the reader has passed is not brought any more.
  EXPECT_TRUE(settles_at(7));
}

TEST(ReadAhead, BringsEachMicroBatchOfTheRankOnce) {
  const auto plan = plan_of(kRows, {});
  std::vector<std::vector<std::int64_t>> brought;
  {
    std::atomic<std::int64_t> count{0};
    ReadAhead ahead(plan, {[&](auto samples, std::int64_t) {
                      brought.emplace_back(samples.begin(), samples.end());
                      ++count;
                    }},
                    1000);
    while (count < 2 * plan.last_step) std::this_thread::yield();
  }
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < brought.size(); ++i) {
    micro_batch_rows(plan, static_cast<std::int64_t>(i / 2), 1 + static_cast<std::int64_t>(i % 2),
                     rows);
    EXPECT_EQ(brought[i], rows);
  }
}

}  // namespace
}  // namespace lockstep::data
