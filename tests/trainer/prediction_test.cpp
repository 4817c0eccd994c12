#include "trainer/prediction.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <numeric>
#include <random>

#include "base/file_system.hpp"
#include "data/dataset_file.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/trainer/asked_model.hpp"

namespace lockstep::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kSamples = 103, kClasses = 5, kBatch = 4;

class PredictionTest : public testing::Test {
 protected:
  PredictionTest() {
    std::mt19937_64 random(3);
    std::vector<std::int64_t> y;
    for (std::int64_t i = 0; i < kSamples; ++i) {
      y.push_back(static_cast<std::int64_t>(random() % kClasses));
      for (std::int64_t c = 0; c < kClasses; ++c) {
        x_.push_back(static_cast<float>(random() % 9) - 4);
      }
    }
    tests::write_classes(file("data.h5"), x_, y);
    options_.batch = kBatch;
    options_.identity = "the model";
    options_.commit_period = std::chrono::nanoseconds(0);
    options_.tell = [this](const std::string& text) { told_.push_back(text); };
  }

  std::string file(const std::string& name) const { return directory_.file(name); }

  PredictionOutcome predict_on(int ranks, const std::string& output) {
    options_.output = file(output);
    std::mutex mutex;
    PredictionOutcome outcome;
    tests::ask_on_ranks(ranks, {.paths = {file("data.h5")}, .classes = kClasses},
                        [&](RankGroup group, auto& space, auto& source) {
                          const auto mine = predict(group, space, source, options_);
                          const std::lock_guard lock(mutex);
                          outcome = mine;
                        });
    return outcome;
  }

  /// Stops at the first request after so many rounds.
  void stop_after(int rounds) {
    options_.stop_requests = [rounds, count = std::make_shared<std::atomic<int>>(0)] {
      return ++*count > rounds ? 1 : 0;
    };
  }

  std::string bytes_of(const std::string& name) const {
    return base::FileSystem::posix().read_text(file(name));
  }
  std::vector<std::string> names() const {
    return base::FileSystem::posix().list(directory_.path());
  }
  template <class Value>
  std::vector<Value> column(const std::string& name, const std::string& column) const {
    data::DatasetFile dataset(file(name));
    std::vector<std::int64_t> rows(kSamples);
    std::iota(rows.begin(), rows.end(), 0);
    const auto& found = dataset.column(column);
    std::vector<Value> values(static_cast<std::size_t>(found.rows() * found.row_elements()));
    dataset.read_rows(column, rows, std::as_writable_bytes(std::span(values)));
    return values;
  }

  tests::TemporaryDirectory directory_;
  std::vector<float> x_;
  PredictionOptions options_;
  std::vector<std::string> told_;
};

TEST_F(PredictionTest, WritesTheOutputsInOrderWithTheSameBytesOnAnyRanks) {
  EXPECT_EQ(predict_on(1, "p1.h5").code, base::ExitCode::kDone);

  EXPECT_EQ(column<float>("p1.h5", "predictions"), x_);
  for (const int ranks : {2, 3, 7}) {
    predict_on(ranks, "p.h5");
    EXPECT_EQ(bytes_of("p.h5"), bytes_of("p1.h5")) << ranks;
  }
  EXPECT_THAT(names(), ElementsAre("data.h5", "p.h5", "p1.h5"));
}

TEST_F(PredictionTest, WritesProbabilitiesAndClasses) {
  options_.answer = Answer::kProbabilities;
  options_.classes = AnswerClasses::kYes;
  predict_on(2, "p.h5");

  const auto probabilities = column<float>("p.h5", "probabilities");
  const auto classes = column<std::int64_t>("p.h5", "classes");
  const auto expected =
      torch::softmax(torch::from_blob(x_.data(), {kSamples, kClasses}).to(torch::kDouble), 1);
  for (std::int64_t i = 0; i < kSamples; ++i) {
    for (std::int64_t c = 0; c < kClasses; ++c) {
      EXPECT_NEAR(probabilities[static_cast<std::size_t>(i * kClasses + c)],
                  expected[i][c].item<double>(), 1e-7);
    }
    const auto row = x_.begin() + i * kClasses;
    EXPECT_EQ(classes[static_cast<std::size_t>(i)], std::max_element(row, row + kClasses) - row);
  }
  EXPECT_ANY_THROW(column<float>("p.h5", "predictions"));
}

TEST_F(PredictionTest, StopsOnRequestAndGoesOnOnOtherRanks) {
  predict_on(1, "calm.h5");
  for (const int then : {1, 3}) {
    stop_after(4);
    const auto stopped = predict_on(2, "p.h5");
    EXPECT_EQ(stopped.code, base::ExitCode::kStopped);
    EXPECT_GT(stopped.committed, 0);
    EXPECT_LT(stopped.committed, kSamples);
    EXPECT_FALSE(base::FileSystem::posix().exists(file("p.h5")));

    options_.stop_requests = [] { return 0; };
    told_.clear();
    EXPECT_EQ(predict_on(then, "p.h5").code, base::ExitCode::kDone);

    EXPECT_THAT(told_, ElementsAre(HasSubstr("going on after the first")));
    EXPECT_EQ(bytes_of("p.h5"), bytes_of("calm.h5"));
    std::filesystem::remove(file("p.h5"));
  }
  EXPECT_THAT(names(), ElementsAre("calm.h5", "data.h5"));
}

TEST_F(PredictionTest, KeepsWhatIsCommittedAtASecondRequest) {
  options_.stop_requests = [count = std::make_shared<std::atomic<int>>(0)] {
    return ++*count > 3 ? 2 : 0;
  };
  try {
    predict_on(1, "p.h5");
    FAIL() << "it went on";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.code(), base::ExitCode::kTerminated);
  }
  options_.stop_requests = [] { return 0; };
  predict_on(1, "p.h5");

  EXPECT_EQ(told_.size(), 1u);
  EXPECT_EQ(column<float>("p.h5", "predictions"), x_);
}

TEST_F(PredictionTest, WritesOtherAnswersFromTheSameRows) {
  options_.classes = AnswerClasses::kYes;
  predict_on(1, "calm.h5");
  options_.classes = AnswerClasses::kNo;
  stop_after(3);
  predict_on(1, "p.h5");

  options_.classes = AnswerClasses::kYes;
  options_.stop_requests = [] { return 0; };
  predict_on(2, "p.h5");

  EXPECT_EQ(told_.size(), 1u);
  EXPECT_EQ(bytes_of("p.h5"), bytes_of("calm.h5"));
}

TEST_F(PredictionTest, StartsOverForAnotherModelAnotherBatchAndDamagedRows) {
  predict_on(1, "calm.h5");
  const auto stop = [&] {
    told_.clear();
    stop_after(3);
    predict_on(2, "p.h5");
    options_.stop_requests = [] { return 0; };
  };
  stop();
  options_.identity = "another model";
  predict_on(1, "p.h5");
  EXPECT_THAT(told_, ElementsAre(HasSubstr("is not used (it is of another model")));

  stop();
  options_.batch = kBatch + 1;
  predict_on(1, "p.h5");
  EXPECT_THAT(told_, ElementsAre(HasSubstr("is not used")));

  options_.batch = kBatch;
  stop();
  {
    std::fstream partial(file(".p.h5.partial"), std::ios::in | std::ios::out | std::ios::binary);
    partial.seekp(2);
    partial.put('!');
  }
  predict_on(2, "p.h5");
  EXPECT_THAT(told_, ElementsAre(HasSubstr("damaged from row 0 on")));
  EXPECT_EQ(bytes_of("p.h5"), bytes_of("calm.h5"));
}

TEST_F(PredictionTest, RefusesAnImpossibleOutputBeforeTheWork) {
  std::filesystem::create_directory(file("folder.h5"));
  EXPECT_THROW(predict_on(1, "folder.h5"), base::Error);
  EXPECT_THROW(predict_on(2, "missing/p.h5"), base::Error);
  EXPECT_THAT(names(), ElementsAre("data.h5", "folder.h5"));
}

TEST_F(PredictionTest, RefusesClassesOfARegression) {
  tests::write_numbers(file("numbers.h5"), 2, {1, 2}, {3, 4});
  options_.output = file("p.h5");
  options_.classes = AnswerClasses::kYes;
  EXPECT_THROW(tests::ask_on_ranks(1, {.paths = {file("numbers.h5")}},
                                   [&](RankGroup group, auto& space, auto& source) {
                                     predict(group, space, source, options_);
                                   }),
               base::ConfigError);
}

}  // namespace
}  // namespace lockstep::trainer
