#include "data/synth.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "base/error.hpp"
#include "data/dataset_file.hpp"
#include "data/fingerprint.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::message_of;

template <class T>
std::vector<T> first_of(const std::vector<T>& values) {
  return {values.begin(), values.begin() + 5};
}

class Synth : public ::testing::Test {
 protected:
  Synth() {
    options_.rows = 200;
    options_.output = directory_.file("f.h5");
  }

  template <class T>
  std::vector<T> column(const std::string& name) {
    DatasetFile file(options_.output);
    const auto& info = file.column(name);
    std::vector<T> values(static_cast<std::size_t>(info.rows() * info.row_elements()));
    file.read_rows(name, 0, info.rows(), std::as_writable_bytes(std::span(values)));
    return values;
  }

  std::string refusal() {
    return message_of<base::ConfigError>([this] { synthesize(options_); });
  }

  tests::TemporaryDirectory directory_;
  SynthOptions options_;
};

TEST_F(Synth, MakesImagesOfBytesAndClasses) {
  options_.shape = {3, 8, 8};
  options_.classes = 4;

  synthesize(options_);

  const DatasetFile file(options_.output);
  EXPECT_EQ(file.column("x").dtype, DType::kU8);
  EXPECT_THAT(file.column("x").shape, ElementsAre(200, 3, 8, 8));
  EXPECT_EQ(file.column("y").dtype, DType::kI64);
  auto labels = column<std::int64_t>("y");
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  EXPECT_THAT(labels, ElementsAre(0, 1, 2, 3));
}

TEST_F(Synth, MakesClassesThatTheirMeansTellApart) {
  options_.rows = 2000;
  options_.features = 16;
  options_.classes = 5;
  synthesize(options_);
  const auto x = column<float>("x");
  const auto y = column<std::int64_t>("y");
  std::map<std::int64_t, std::vector<double>> means;
  std::map<std::int64_t, double> counts;
  for (std::size_t i = 0; i < 1000; ++i) {
    auto& mean = means[y[i]];
    mean.resize(16);
    for (std::size_t j = 0; j < 16; ++j) mean[j] += x[i * 16 + j];
    ++counts[y[i]];
  }

  int correct = 0;
  for (std::size_t i = 1000; i < 2000; ++i) {
    std::map<double, std::int64_t> by_distance;
    for (const auto& [label, mean] : means) {
      double distance = 0;
      for (std::size_t j = 0; j < 16; ++j) {
        distance += std::pow(mean[j] / counts[label] - x[i * 16 + j], 2);
      }
      by_distance[distance] = label;
    }
    if (by_distance.begin()->second == y[i]) ++correct;
  }

  EXPECT_GT(correct, 800);  // 200 by chance
}

TEST_F(Synth, MakesTargetsThatAreLinearInTheInputsUpToNoise) {
  options_.kind = TaskKind::kRegression;
  options_.features = 1;
  options_.rows = 500;
  synthesize(options_);
  const auto x = column<float>("x");
  const auto y = column<float>("y");

  const double xy = std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  const double xx = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  double residual = 0;
  for (std::size_t i = 0; i < x.size(); ++i) residual += std::pow(y[i] - xy / xx * x[i], 2);

  EXPECT_NEAR(std::sqrt(residual / 500), 0.1, 0.01);
  EXPECT_NEAR(xx / 500, 1, 0.15);
}

TEST_F(Synth, MakesTokensThatFollowFewOthers) {
  options_.kind = TaskKind::kTokens;
  options_.rows = 100'000;
  synthesize(options_);
  const auto tokens = column<std::uint8_t>("tokens");
  std::map<std::pair<int, int>, int> pairs;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) ++pairs[{tokens[i], tokens[i + 1]}];

  std::vector<int> counts;
  counts.reserve(pairs.size());
  for (const auto& [pair, count] : pairs) counts.push_back(count);
  std::sort(counts.rbegin(), counts.rend());
  const auto common = std::accumulate(counts.begin(), counts.begin() + 1024, 0);

  // 4 followers for each of 256 tokens; 31 of 32 steps go to one of them.
  EXPECT_GT(common, 94'000);
}

TEST_F(Synth, WritesTheSameFileForTheSameSeed) {
  options_.shape = {1, 6, 6};
  synthesize(options_);
  const auto first = fingerprint(options_.output);

  synthesize(options_);
  EXPECT_EQ(fingerprint(options_.output), first);

  options_.seed = 2;
  synthesize(options_);
  EXPECT_NE(fingerprint(options_.output), first);
}

TEST_F(Synth, MakesTheFirstRowsOfALargerFile) {
  options_.features = 3;
  synthesize(options_);
  const auto few = column<float>("x");
  options_.rows = 300;
  options_.layout = {.chunk_rows = 32, .deflate = 1};

  synthesize(options_);
  auto more = column<float>("x");

  more.resize(few.size());
  EXPECT_EQ(more, few);
}

// The bytes of a synthetic file are published: benchmarks of different days compare on them.
TEST_F(Synth, KeepsItsPublishedNumbers) {
  options_.shape = {1, 2, 2};
  synthesize(options_);
  EXPECT_THAT(first_of(column<std::uint8_t>("x")), ElementsAre(97, 173, 136, 112, 212));
  EXPECT_THAT(first_of(column<std::int64_t>("y")), ElementsAre(0, 5, 6, 2, 7));

  options_.shape.clear();
  options_.kind = TaskKind::kTokens;
  synthesize(options_);
  EXPECT_THAT(first_of(column<std::uint8_t>("tokens")), ElementsAre(111, 114, 84, 212, 193));

  options_.kind = TaskKind::kRegression;
  options_.features = 2;
  synthesize(options_);
  EXPECT_THAT(first_of(column<float>("y")),
              ElementsAre(-1.72225261f, 0.790607452f, 0.411756665f, -1.53631949f, 2.1485424f));
}

// Each class's mean was once as large as the whole file: 256 images of 224 pixels and a thousand
// classes took more than 24 GB.
TEST_F(Synth, NeedsLittleMemoryForManyClassesOfImages) {
  const auto most_kib = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  options_.rows = 400;
  options_.shape = {3, 16, 16};
  options_.classes = 1000;
  const auto before = most_kib();

  synthesize(options_);

  EXPECT_LT(most_kib() - before, 100 * 1024);  // it was 400 MB
}

TEST_F(Synth, SaysWhatItLacks) {
  EXPECT_THAT(refusal(), HasSubstr("the inputs have no form; give --shape"));

  options_.features = 4;
  options_.shape = {2, 2};
  EXPECT_THAT(refusal(), HasSubstr("both a shape and features are given"));

  options_.shape.clear();
  options_.rows = 0;
  EXPECT_THAT(refusal(), HasSubstr("rows 0 is impossible"));

  options_.rows = 1;
  options_.kind = TaskKind::kTokens;
  EXPECT_THAT(refusal(), HasSubstr("tokens have neither shape nor features"));

  options_.features = 0;
  options_.classes = 300;
  EXPECT_THAT(refusal(), HasSubstr("does not fit the bytes"));

  options_.kind = TaskKind::kRegression;
  options_.shape = {2};
  EXPECT_THAT(refusal(), HasSubstr("give --features instead"));

  options_.kind = TaskKind::kClassification;
  options_.layout.deflate = 3;
  EXPECT_THAT(refusal(), HasSubstr("compression needs chunks"));

  EXPECT_FALSE(std::filesystem::exists(options_.output));
}

}  // namespace
}  // namespace lockstep::data
