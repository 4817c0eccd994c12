#include "data/source.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.hpp"
#include "data/fingerprint.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tests::add_column;
using tests::message_of;
using tests::OddFile;
using tests::TemporaryDirectory;

/// A file with whatever the test adds, and options that read it.
class SampleSourceTest : public ::testing::Test {
 protected:
  SampleSourceTest() { options_.paths = {directory_.file("f.h5")}; }

  template <class Add>
  void write(const Add& add) {
    DatasetWriter writer(options_.paths.front());
    add(writer);
    writer.commit();
  }

  /// Three images of 1 x 2 bytes with classes 0, 2, 1.
  void write_images() {
    write([](DatasetWriter& writer) {
      add_column<std::uint8_t>(writer, "x", DType::kU8, {3, 1, 2}, {0, 255, 51, 102, 153, 204});
      add_column<std::int64_t>(writer, "y", DType::kI64, {3}, {0, 2, 1});
    });
  }

  template <class T>
  void write_labels(DType dtype, const std::vector<T>& labels,
                    const std::vector<std::int64_t>& shape) {
    write([&](DatasetWriter& writer) {
      add_column<float>(writer, "x", DType::kF32, {shape[0], 1},
                        std::vector<float>(static_cast<std::size_t>(shape[0]), 1));
      add_column<T>(writer, "y", dtype, shape, labels);
    });
  }

  std::string refusal() {
    return message_of<base::DataError>([this] { SampleSource{options_}; });
  }

  std::string refusal_of_row(std::int64_t row) {
    SampleSource source(options_);
    Batch batch;
    return message_of<base::DataError>([&] { source.read(std::vector<std::int64_t>{row}, batch); });
  }

  Batch read(const std::vector<std::int64_t>& rows) {
    SampleSource source(options_);
    Batch batch;
    source.read(rows, batch);
    return batch;
  }

  TemporaryDirectory directory_;
  SourceOptions options_;
};

TEST_F(SampleSourceTest, DescribesImagesWithClasses) {
  write_images();

  const auto info = SampleSource(options_).info();

  EXPECT_EQ(info.kind, TaskKind::kClassification);
  EXPECT_EQ(info.samples, 3);
  EXPECT_THAT(info.input_shape, ElementsAre(1, 2));
  EXPECT_THAT(info.target_shape, IsEmpty());
  EXPECT_EQ(info.classes, 3);
  EXPECT_EQ(info.fingerprint, fingerprint(options_.paths.front()));
}

TEST_F(SampleSourceTest, LeavesTheFingerprintToAnotherRankWhenAsked) {
  write_images();
  options_.fingerprinting = Fingerprinting::kNone;

  EXPECT_EQ(SampleSource(options_).info().fingerprint, "");
}

TEST_F(SampleSourceTest, ScalesBytesToOneAndKeepsTheOrderAskedFor) {
  write_images();

  const auto batch = read({2, 0});

  EXPECT_EQ(batch.samples, 2);
  EXPECT_THAT(batch.rows, ElementsAre(2, 0));
  EXPECT_THAT(batch.classes, ElementsAre(1, 0));
  ASSERT_EQ(batch.inputs.size(), 4u);
  EXPECT_FLOAT_EQ(batch.inputs[0], 0.6f);
  EXPECT_FLOAT_EQ(batch.inputs[1], 0.8f);
  EXPECT_FLOAT_EQ(batch.inputs[2], 0.0f);
  EXPECT_FLOAT_EQ(batch.inputs[3], 1.0f);
}

TEST_F(SampleSourceTest, AppliesScaleThenMeanThenStd) {
  write_images();
  options_.scale = 1;
  options_.mean = {51};
  options_.std = {2};

  EXPECT_THAT(read({1}).inputs, ElementsAre(0, 25.5));
}

TEST_F(SampleSourceTest, AppliesMeanAndStdToEachChannel) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {2, 2, 1, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
  });
  options_.mean = {1, 3};
  options_.std = {1, 2};

  EXPECT_THAT(read({0, 1}).inputs, ElementsAre(0, 1, 0, 0.5, 4, 5, 2, 2.5));
}

TEST_F(SampleSourceTest, AppliesMeanToEachFeatureAndOneStdToAll) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {1, 3}, {1, 2, 3});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {1}, {0});
  });
  options_.mean = {1, 0, 1};
  options_.std = {2};

  EXPECT_THAT(read({0}).inputs, ElementsAre(0, 1, 1));
}

TEST_F(SampleSourceTest, RefusesAMeanOfAnotherLength) {
  write_images();
  options_.mean = {1, 2, 3};

  EXPECT_THAT(message_of<base::ConfigError>([this] { SampleSource{options_}; }),
              HasSubstr("data.mean has 3 numbers, dataset 'x' has 1 channel;"));
}

TEST_F(SampleSourceTest, RefusesAStdOfZero) {
  write_images();
  options_.std = {0};

  EXPECT_THAT(message_of<base::ConfigError>([this] { SampleSource{options_}; }),
              HasSubstr("data.std"));
}

TEST_F(SampleSourceTest, ConvertsEveryInputTypeToF32) {
  const auto expect_seven = [&]<class T>(DType dtype, T value) {
    write([&](DatasetWriter& writer) {
      add_column<T>(writer, "x", dtype, {1, 1}, {value});
      add_column<std::uint8_t>(writer, "y", DType::kU8, {1}, {0});
    });
    options_.scale = 1;
    EXPECT_THAT(read({0}).inputs, ElementsAre(7)) << name_of(dtype);
  };

  expect_seven(DType::kU8, std::uint8_t{7});
  expect_seven(DType::kI8, std::int8_t{7});
  expect_seven(DType::kU16, std::uint16_t{7});
  expect_seven(DType::kI16, std::int16_t{7});
  expect_seven(DType::kU32, std::uint32_t{7});
  expect_seven(DType::kI32, std::int32_t{7});
  expect_seven(DType::kU64, std::uint64_t{7});
  expect_seven(DType::kI64, std::int64_t{7});
  expect_seven(DType::kF16, std::uint16_t{0x4700});
  expect_seven(DType::kF32, 7.0f);
  expect_seven(DType::kF64, 7.0);
}

TEST_F(SampleSourceTest, ReadsFloatTargetsAsRegression) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {2, 1}, {1, 2});
    add_column<double>(writer, "y", DType::kF64, {2, 2}, {0.5, 1.5, 2.5, 3.5});
  });

  const auto info = SampleSource(options_).info();
  const auto batch = read({1, 0});

  EXPECT_EQ(info.kind, TaskKind::kRegression);
  EXPECT_THAT(info.target_shape, ElementsAre(2));
  EXPECT_EQ(info.classes, 0);
  EXPECT_THAT(batch.values, ElementsAre(2.5, 3.5, 0.5, 1.5));
  EXPECT_THAT(batch.classes, IsEmpty());
}

TEST_F(SampleSourceTest, ReadsIntegerTargetsAsRegressionWhenAsked) {
  write_images();
  options_.kind = TaskKind::kRegression;

  EXPECT_THAT(read({1}).values, ElementsAre(2));
}

TEST_F(SampleSourceTest, AcceptsClassesStoredAsAColumn) {
  write_labels<std::int32_t>(DType::kI32, {3, 0}, {2, 1});

  EXPECT_EQ(SampleSource(options_).info().classes, 4);
  EXPECT_THAT(read({0}).classes, ElementsAre(3));
}

TEST_F(SampleSourceTest, CutsTokensIntoWindowsWithTheirNextTokens) {
  write([](DatasetWriter& writer) {
    add_column<std::uint16_t>(writer, "tokens", DType::kU16, {8},
                              {10, 11, 12, 13, 14, 15, 16, 300});
  });
  options_.context = 3;

  const auto info = SampleSource(options_).info();
  const auto batch = read({1, 0});

  EXPECT_EQ(info.kind, TaskKind::kTokens);
  EXPECT_EQ(info.samples, 2);
  EXPECT_EQ(info.classes, 301);
  EXPECT_THAT(info.input_shape, ElementsAre(3));
  EXPECT_THAT(batch.tokens, ElementsAre(13, 14, 15, 10, 11, 12));
  EXPECT_THAT(batch.classes, ElementsAre(14, 15, 16, 11, 12, 13));
  EXPECT_THAT(batch.inputs, IsEmpty());
}

TEST_F(SampleSourceTest, CountsByteTokensAsAVocabularyOf256) {
  write([](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {4}, {1, 2, 3, 4});
  });
  options_.context = 3;

  const auto info = SampleSource(options_).info();

  EXPECT_EQ(info.classes, 256);
  EXPECT_EQ(info.samples, 1);
}

TEST_F(SampleSourceTest, ReusesTheBuffersOfABatch) {
  write_images();
  SampleSource source(options_);
  Batch batch;
  source.read(std::vector<std::int64_t>{0, 1}, batch);
  const auto* inputs = batch.inputs.data();
  const auto* classes = batch.classes.data();

  source.read(std::vector<std::int64_t>{2, 1}, batch);

  EXPECT_EQ(batch.inputs.data(), inputs);
  EXPECT_EQ(batch.classes.data(), classes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(inputs) % 64, 0u);
}

TEST_F(SampleSourceTest, RefusesInputsThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    write([&](DatasetWriter& writer) {
      add_column<float>(writer, "x", DType::kF32, {2, 2}, {1, 2, 3, bad});
      add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
    });

    EXPECT_THAT(refusal_of_row(1),
                AllOf(HasSubstr("dataset 'x' of"),
                      HasSubstr("has " + std::to_string(bad) + " in row 1, element 1")));
    EXPECT_NO_THROW(read({0}));
  }
}

TEST_F(SampleSourceTest, RefusesDoublesThatOverflowF32) {
  write([](DatasetWriter& writer) {
    add_column<double>(writer, "x", DType::kF64, {1, 1}, {1e300});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {1}, {0});
  });

  EXPECT_THAT(refusal_of_row(0), HasSubstr("has inf in row 0, element 0 (as f32"));
}

TEST_F(SampleSourceTest, RefusesTargetsThatAreNotFinite) {
  write_labels<float>(DType::kF32, {1, std::nanf("")}, {2});

  EXPECT_THAT(refusal_of_row(1), AllOf(HasSubstr("dataset 'y' of"), HasSubstr("in row 1")));
}

TEST_F(SampleSourceTest, RefusesNegativeLabelsBeforeTheRunStarts) {
  write_labels<std::int32_t>(DType::kI32, {0, 1, -1}, {3});

  EXPECT_THAT(refusal(), AllOf(HasSubstr("dataset 'y' of"),
                               HasSubstr("has label -1 in row 2 (they count from 0)")));
}

TEST_F(SampleSourceTest, RefusesLabelsBeyondTheClassesGiven) {
  write_labels<std::uint8_t>(DType::kU8, {0, 9, 10}, {3});
  options_.classes = 10;

  EXPECT_THAT(refusal(), HasSubstr("has label 10 in row 2 (it is not below 10, the number of "
                                   "classes); correct the data, or raise the number of classes"));
}

TEST_F(SampleSourceTest, RefusesLabelsThatAreNoClassNumbers) {
  write_labels<std::uint64_t>(DType::kU64, {std::numeric_limits<std::uint64_t>::max()}, {1});

  EXPECT_THAT(refusal(), HasSubstr("in row 0 (it is not below 2147483648)"));
}

TEST_F(SampleSourceTest, KeepsTheClassesGivenWhenTheFileHasFewer) {
  write_images();
  options_.classes = 10;

  EXPECT_EQ(SampleSource(options_).info().classes, 10);
}

TEST_F(SampleSourceTest, RefusesTokensBeyondTheVocabularyGiven) {
  write([](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {5}, {1, 2, 3, 77, 4});
  });
  options_.context = 2;
  options_.classes = 50;

  EXPECT_THAT(read({0}).tokens, ElementsAre(1, 2));
  EXPECT_THAT(refusal_of_row(1), HasSubstr("dataset 'tokens' of"));
  EXPECT_THAT(refusal_of_row(1), HasSubstr("has token 77 in row 3"));
}

TEST_F(SampleSourceTest, RefusesLengthsThatDiffer) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {3, 1}, {1, 2, 3});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
  });

  EXPECT_THAT(refusal(), HasSubstr("datasets 'x' and 'y' of"));
}

TEST_F(SampleSourceTest, RefusesInputsOfTheWrongType) {
  OddFile(options_.paths.front()).add_strings("x", 2).add_strings("y", 2);
  options_.kind = TaskKind::kClassification;

  EXPECT_THAT(refusal(), AllOf(HasSubstr("dataset 'x' of"), HasSubstr("holds string elements")));
}

TEST_F(SampleSourceTest, RefusesInputsWithoutValues) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {2}, {1, 2});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
  });

  EXPECT_THAT(refusal(), AllOf(HasSubstr("has shape [2]"), HasSubstr("store inputs as [rows,")));
}

TEST_F(SampleSourceTest, RefusesSeveralClassesASample) {
  write_labels<std::uint8_t>(DType::kU8, {0, 1, 1, 0}, {2, 2});

  EXPECT_THAT(refusal(), HasSubstr("has shape [2, 2] (integer targets are one class a sample)"));
}

TEST_F(SampleSourceTest, RefusesFloatsAsClasses) {
  write_labels<float>(DType::kF32, {0, 1}, {2});
  options_.kind = TaskKind::kClassification;

  EXPECT_THAT(refusal(), HasSubstr("holds f32 elements (classes are integers)"));
}

TEST_F(SampleSourceTest, RefusesToMakeARegressionOfFloatsWhereClassesAreGiven) {
  write_labels<float>(DType::kF32, {0, 1}, {2});
  options_.classes = 2;

  EXPECT_THAT(tests::message_of<base::ConfigError>([&] { SampleSource source(options_); }),
              AllOf(HasSubstr("dataset 'y' of"), HasSubstr("holds f32 elements"),
                    HasSubstr("model.classes is 2"), HasSubstr("store class numbers from 0")));
}

TEST_F(SampleSourceTest, RefusesFilesWithoutRows) {
  tests::OddColumn inputs;
  inputs.shape = {0, 4};
  tests::OddColumn targets;
  targets.name = "y";
  targets.dtype = DType::kI64;
  targets.shape = {0};
  OddFile(options_.paths.front()).add(inputs).add(targets);

  EXPECT_THAT(refusal(), HasSubstr("dataset 'x' of"));
  EXPECT_THAT(refusal(), HasSubstr("has no rows (shape [0, 4])"));
}

TEST_F(SampleSourceTest, NamesTheDatasetThatIsMissing) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {1, 1}, {1});
    add_column<std::uint8_t>(writer, "labels", DType::kU8, {1}, {0});
  });

  EXPECT_THAT(refusal(), HasSubstr("has no dataset 'y' (it has: 'labels', 'x')"));
}

TEST_F(SampleSourceTest, RefusesTokensThatAreNoLongRowOfIntegers) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "tokens", DType::kF32, {2, 2}, {1, 2, 3, 4});
  });
  options_.context = 1;

  EXPECT_THAT(refusal(), HasSubstr("holds f32 of shape [2, 2] (tokens are one long row"));
}

TEST_F(SampleSourceTest, RefusesFewerTokensThanOneSampleNeeds) {
  write([](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {8}, std::vector<std::uint8_t>(8, 1));
  });
  options_.context = 8;
  EXPECT_THAT(refusal(), HasSubstr("has 8 tokens (one sample needs context + 1 = 9)"));

  options_.context = 0;
  EXPECT_THAT(message_of<base::ConfigError>([this] { SampleSource{options_}; }),
              HasSubstr("context 0 is impossible"));
}

TEST_F(SampleSourceTest, RefusesSamplesThatDoNotExist) {
  write_images();

  EXPECT_THROW(read({3}), base::InternalError);
}

TEST_F(SampleSourceTest, ReadsEachSampleForTrainingAsAugmentedByItsNumberAndEpoch) {
  std::vector<std::uint8_t> pixels(5 * 2 * 4 * 4);
  std::iota(pixels.begin(), pixels.end(), std::uint8_t{1});
  write([&](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "x", DType::kU8, {5, 2, 4, 4}, pixels);
    add_column<std::uint8_t>(writer, "y", DType::kU8, {5}, {0, 1, 2, 3, 4});
  });
  options_.scale = 1;
  options_.mean = {3, 5};
  options_.augmentation = {
      .flip = 0.5, .vertical_flip = 0.5, .crop_padding = 2, .cutout = 1, .noise = 0.25};
  options_.seed = 11;
  SampleSource source(options_);
  const Augmentation augmentation(options_.augmentation, source.info().input_shape, 1);
  std::set<std::vector<float>> of_first;

  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    Batch batch;
    batch.epoch = epoch;
    source.read(std::vector<std::int64_t>{3, 0, 4}, batch, ReadFor::kTraining);

    std::vector<float> expected;
    for (const std::int64_t row : {3, 0, 4}) {
      const SampleKey key{.seed = 11, .epoch = epoch, .sample = row};
      std::vector<std::uint8_t> moved(32);
      augmentation.apply(
          std::as_bytes(std::span(pixels).subspan(static_cast<std::size_t>(row) * 32, 32)),
          std::as_writable_bytes(std::span(moved)), key);
      std::vector<float> scaled(moved.begin(), moved.end());
      for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] -= i < 16 ? 3 : 5;
      augmentation.add_noise(scaled, key);
      expected.insert(expected.end(), scaled.begin(), scaled.end());
    }
    EXPECT_THAT(batch.inputs, ElementsAreArray(expected));
    EXPECT_THAT(batch.classes, ElementsAre(3, 0, 4));
    of_first.insert(expected);
  }
  EXPECT_EQ(of_first.size(), 4u);
}

TEST_F(SampleSourceTest, AugmentsNothingThatIsEvaluated) {
  write_images();
  const auto plain = read({0, 1, 2});
  options_.augmentation = {.flip = 1, .noise = 1};

  EXPECT_EQ(read({0, 1, 2}).inputs, plain.inputs);
}

TEST_F(SampleSourceTest, AddsNoiseToInputsThatAreNoImages) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {2, 3}, {1, 2, 3, 4, 5, 6});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {2}, {0, 1});
  });
  options_.augmentation.noise = 0.5;
  std::vector<float> expected{4, 5, 6};
  Augmentation(options_.augmentation, {}, 4).add_noise(expected, {.epoch = 2, .sample = 1});
  Batch batch;
  batch.epoch = 2;

  SampleSource(options_).read(std::vector<std::int64_t>{1}, batch, ReadFor::kTraining);

  EXPECT_THAT(batch.inputs, ElementsAreArray(expected));
}

TEST_F(SampleSourceTest, FindsValuesThatAreNotFiniteWhereTheFileHasThem) {
  write([](DatasetWriter& writer) {
    add_column<float>(writer, "x", DType::kF32, {1, 1, 3}, {1, 2, std::nanf("")});
    add_column<std::uint8_t>(writer, "y", DType::kU8, {1}, {0});
  });
  for (const auto& augmentation : {AugmentationOptions{.flip = 1}, {.cutout = 1}}) {
    options_.augmentation = augmentation;
    SampleSource source(options_);
    Batch batch;

    const auto message = message_of<base::DataError>(
        [&] { source.read(std::vector<std::int64_t>{0}, batch, ReadFor::kTraining); });

    EXPECT_THAT(message, HasSubstr("has nan in row 0, element 2"));
  }
}

TEST_F(SampleSourceTest, MovesPixelsOfImagesOnly) {
  write_labels<std::uint8_t>(DType::kU8, {0, 1}, {2});
  options_.augmentation.flip = 0.5;

  EXPECT_THAT(message_of<base::ConfigError>([this] { SampleSource{options_}; }),
              AllOf(HasSubstr("data.augment moves pixels, and the samples of dataset 'x' of"),
                    HasSubstr("have shape [1] (an image is [height, width] or")));
}

TEST_F(SampleSourceTest, AugmentsNoTokens) {
  write([](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {9}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  });
  options_.context = 3;
  options_.augmentation.noise = 1;

  EXPECT_THAT(message_of<base::ConfigError>([this] { SampleSource{options_}; }),
              AllOf(HasSubstr("data.augment is given and dataset 'tokens' of"),
                    HasSubstr("holds tokens (only inputs are augmented)")));
}

TEST_F(SampleSourceTest, ShiftsTheWindowsOfAnEpochTogether) {
  std::vector<std::uint8_t> tokens(30);
  std::iota(tokens.begin(), tokens.end(), std::uint8_t{0});
  write([&](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {30}, tokens);
  });
  options_.context = 5;
  options_.seed = 3;
  options_.token_windows = TokenWindows::kShifted;
  SampleSource source(options_);
  ASSERT_EQ(source.info().samples, 5);
  const std::vector<std::int64_t> rows{4, 0};
  std::set<std::int64_t> shifts;
  Batch batch;

  for (batch.epoch = 0; batch.epoch < 20; ++batch.epoch) {
    const auto shift = window_shift(3, batch.epoch, 5);
    shifts.insert(shift);
    source.read(rows, batch, ReadFor::kTraining);
    for (std::int64_t i = 0; i < 5; ++i) {
      const auto place = static_cast<std::size_t>(i);
      EXPECT_EQ(batch.tokens[place], 20 + shift + i);
      EXPECT_EQ(batch.classes[place], 21 + shift + i);
      EXPECT_EQ(batch.tokens[place + 5], shift + i);
    }
  }
  source.read(rows, batch);

  EXPECT_EQ(shifts.size(), 5u);
  EXPECT_EQ(batch.tokens[0], 20);
}

TEST_F(SampleSourceTest, RefusesFewerTokensThanAllShiftsOfOneSampleNeed) {
  write([](DatasetWriter& writer) {
    add_column<std::uint8_t>(writer, "tokens", DType::kU8, {5}, {1, 2, 3, 4, 5});
  });
  options_.context = 3;
  options_.token_windows = TokenWindows::kShifted;

  EXPECT_THAT(refusal(),
              HasSubstr("has 5 tokens (one sample needs for all its shifts 2 * context = 6)"));
}

TEST_F(SampleSourceTest, MakesClassesTargetsOfOneOneAmongZeros) {
  write_images();
  options_.one_hot = OneHot::kOn;

  const auto info = SampleSource(options_).info();
  const auto batch = read({1, 0});

  EXPECT_EQ(info.kind, TaskKind::kRegression);
  EXPECT_EQ(info.classes, 3);
  EXPECT_THAT(info.target_shape, ElementsAre(3));
  EXPECT_THAT(batch.values, ElementsAre(0, 0, 1, 1, 0, 0));
  EXPECT_THAT(batch.classes, IsEmpty());
}

TEST_F(SampleSourceTest, GivesOneHotTargetsAsManyNumbersAsClassesAreGiven) {
  write_images();
  options_.one_hot = OneHot::kOn;
  options_.kind = TaskKind::kRegression;
  options_.classes = 4;

  EXPECT_THAT(read({2}).values, ElementsAre(0, 1, 0, 0));
}

TEST_F(SampleSourceTest, MakesOneHotTargetsOfClassesOnly) {
  write_labels<float>(DType::kF32, {0, 1}, {2});
  options_.one_hot = OneHot::kOn;

  EXPECT_THAT(refusal(), HasSubstr("holds f32 elements (classes are integers)"));
}

}  // namespace
}  // namespace lockstep::data
