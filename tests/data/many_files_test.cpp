// Several files read as one dataset, and the cache that their readers share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.hpp"
#include "data/dataset_paths.hpp"
#include "data/loader.hpp"
#include "data/private_memory.hpp"
#include "data/source.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using tests::message_of;

class ManyFiles : public ::testing::Test {
 protected:
  /// Rows whose only input is `first`, `first + 1`, ... and whose class is row % 3.
  std::string write(const std::string& name, float first, std::int64_t rows,
                    ColumnLayout layout = {}) {
    const auto path = directory_.file(name);
    DatasetWriter writer(path);
    std::vector<float> inputs;
    std::vector<std::uint8_t> classes;
    for (std::int64_t i = 0; i < rows; ++i) {
      inputs.push_back(first + static_cast<float>(i));
      classes.push_back(static_cast<std::uint8_t>(i % 3));
    }
    tests::add_column<float>(writer, "x", DType::kF32, {rows, 1}, inputs, layout);
    tests::add_column<std::uint8_t>(writer, "y", DType::kU8, {rows}, classes, layout);
    writer.commit();
    return path;
  }

  static std::vector<float> inputs_of(SampleSource& source, const std::vector<std::int64_t>& rows) {
    Batch batch;
    source.read(rows, batch);
    return {batch.inputs.begin(), batch.inputs.end()};
  }

  tests::TemporaryDirectory directory_;
};

TEST_F(ManyFiles, FollowEachOther) {
  SampleSource source(
      {.paths = {write("a.h5", 0, 4), write("b.h5", 100, 3), write("c.h5", 200, 1)}});

  EXPECT_EQ(source.info().samples, 8);
  EXPECT_EQ(source.info().classes, 3);
  EXPECT_THAT(inputs_of(source, {7, 0, 4, 6, 3, 5}), ElementsAre(200, 0, 100, 102, 3, 101));
  EXPECT_THAT(source.name(), HasSubstr("a.h5 and 2 more"));
}

TEST_F(ManyFiles, HaveAFingerprintOfTheirOrder) {
  const auto a = write("a.h5", 0, 4);
  const auto b = write("b.h5", 100, 4);

  const auto ab = SampleSource({.paths = {a, b}}).info().fingerprint;

  EXPECT_EQ(SampleSource({.paths = {a, b}}).info().fingerprint, ab);
  EXPECT_NE(SampleSource({.paths = {b, a}}).info().fingerprint, ab);
  EXPECT_NE(SampleSource({.paths = {a}}).info().fingerprint, ab);
}

TEST_F(ManyFiles, NameTheFileAndItsOwnRowInErrors) {
  const auto a = write("a.h5", 0, 4);
  const auto b = write("b.h5", std::numeric_limits<float>::infinity(), 3);
  SampleSource source({.paths = {a, b}});
  Batch batch;

  EXPECT_THAT(message_of<base::DataError>([&] {
                source.read(std::vector<std::int64_t>{1, 5}, batch);
              }),
              AllOf(HasSubstr("b.h5"), HasSubstr("in row 1,")));
}

TEST_F(ManyFiles, NeedOneShape) {
  const auto a = write("a.h5", 0, 4);
  const auto b = directory_.file("b.h5");
  {
    DatasetWriter writer(b);
    tests::add_column<float>(writer, "x", DType::kF32, {2, 2}, {1, 2, 3, 4});
    tests::add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
    writer.commit();
  }

  EXPECT_THAT(message_of<base::DataError>([&] {
                SampleSource({.paths = {a, b}});
              }),
              AllOf(HasSubstr("b.h5"), HasSubstr("samples of another form"), HasSubstr("a.h5")));
}

TEST_F(ManyFiles, AreMissedBeforeAnythingIsRead) {
  const auto a = write("a.h5", 0, 4);

  EXPECT_THAT(message_of<base::DataError>([&] {
                SampleSource({.paths = {a, directory_.file("gone.h5")}});
              }),
              HasSubstr("gone.h5"));
}

TEST_F(ManyFiles, AreMixedByWeightsInTrainingAlone) {
  SampleSource source(
      {.paths = {write("a.h5", 0, 90), write("b.h5", 1000, 10)}, .weights = {1, 1}, .seed = 3});
  std::vector<std::int64_t> all(100);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  Batch batch;
  batch.epoch = 2;

  source.read(all, batch, ReadFor::kTraining);

  std::map<float, int> of_small;
  int large = 0;
  for (const auto value : batch.inputs) value < 1000 ? ++large : ++of_small[value];
  EXPECT_EQ(large, 50);
  EXPECT_EQ(of_small.size(), 10u);
  for (const auto& [value, times] : of_small) EXPECT_EQ(times, 5) << value;
  EXPECT_EQ(inputs_of(source, {95}).front(), 1005);
}

TEST_F(ManyFiles, AreFoundByPatterns) {
  const auto b = write("shard-2.h5", 0, 1);
  const auto a = write("shard-1.h5", 0, 1);
  const auto other = write("other.h5", 0, 1);

  EXPECT_THAT(dataset_paths({other, directory_.file("shard-?.h5")}), ElementsAre(other, a, b));
  EXPECT_THAT(message_of<base::DataError>([&] { dataset_paths({directory_.file("none-*.h5")}); }),
              AllOf(HasSubstr("no data file matches"), HasSubstr("none-*.h5")));
}

TEST_F(ManyFiles, ShareACacheOfAnySize) {
  const ColumnLayout packed{.chunk_rows = 16, .deflate = 3};
  const std::vector<std::string> paths = {write("a.h5", 0, 500, packed),
                                          write("b.h5", 1000, 300, packed)};
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < 2000; ++i) rows.push_back(i * 379 % 800);
  SampleSource plain({.paths = paths, .cache_bytes = 0});
  const auto expected = inputs_of(plain, rows);

  for (const std::size_t budget :
       {std::size_t{0}, std::size_t{9000}, std::size_t{40'000}, std::size_t{1} << 20}) {
    for (const std::int64_t window : {0, 64}) {
      SampleSource one({.paths = paths});
      SampleSource other({.paths = paths});
      const auto bytes = one.plan_cache(budget, window);
      EXPECT_LE(bytes, budget);
      ASSERT_EQ(other.plan_cache(budget, window), bytes);
      const detail::PrivateMemory memory(bytes);
      one.share_cache(memory.bytes());
      other.share_cache(memory.bytes());

      EXPECT_THAT(inputs_of(one, rows), ElementsAreArray(expected)) << budget;
      EXPECT_THAT(inputs_of(other, rows), ElementsAreArray(expected)) << budget;
    }
  }
}

TEST_F(ManyFiles, NeedNoCacheWhereNothingIsDecoded) {
  SampleSource source({.paths = {write("a.h5", 0, 500)}});

  EXPECT_EQ(source.plan_cache(1 << 20, 0), 0u);
}

}  // namespace
}  // namespace lockstep::data
