#include "data/synth.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "base/error.hpp"
#include "base/philox.hpp"
#include "base/text.hpp"

namespace lockstep::data {
namespace {

// Everything here is exact arithmetic (integers, IEEE + * / and sqrt), so that a seed gives the
// same file with any compiler and mathematics library.

constexpr std::int64_t kDefaultClasses = 10;
constexpr std::int64_t kVocabulary = 256;
constexpr std::size_t kBlockBytes = std::size_t{4} << 20;
/// Prototypes of images are this many patches high and wide, so that small filters see them.
constexpr std::int64_t kPatches = 4;

/// What a stream of random numbers is for. Do not change: the values decide every file's bytes.
enum class Stream : std::uint64_t { kLabel = 1, kPrototype, kNoise, kTeacher, kChain, kWalk };

/// Random words of one (purpose, index), one after the other.
class Words {
 public:
  Words(std::uint64_t seed, Stream stream, std::uint64_t index) {
    const auto key = base::keyed_random(seed, base::RandomPurpose::kSynthesis,
                                        static_cast<std::uint64_t>(stream), index);
    key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  }

  std::uint32_t next() {
    if (used_ == words_.size()) {
      words_ = base::philox4x32(
          {static_cast<std::uint32_t>(block_), static_cast<std::uint32_t>(block_ >> 32), 0, 0},
          key_);
      ++block_;
      used_ = 0;
    }
    return words_[used_++];
  }

  float normal() {
    const auto a = next();
    return base::nearly_normal(a, next());
  }

 private:
  base::PhiloxKey key_{};
  base::PhiloxCounter words_{};
  std::size_t used_ = words_.size();
  std::uint64_t block_ = 0;
};

std::int64_t product(std::span<const std::int64_t> lengths) {
  std::int64_t result = 1;
  for (const auto length : lengths) result *= length;
  return result;
}

void require(bool holds, const std::string& problem) {
  if (!holds) throw base::ConfigError(problem);
}

void check_options(const SynthOptions& options) {
  require(options.rows >= 1,
          "rows " + std::to_string(options.rows) + " is impossible; give --rows 1 or more");
  require(!options.output.empty(), "no output file is named; give --output FILE.h5");
  require(options.classes >= 0 && options.classes <= 1'000'000,
          "classes " + std::to_string(options.classes) +
              " is impossible; give 1 to 1000000, or leave it out");
  require(
      options.layout.chunk_rows >= 0 && options.layout.deflate >= 0 && options.layout.deflate <= 9,
      "the layout of the file is impossible; give chunk rows from 1 and a level of 0 to 9");
  require(options.layout.deflate == 0 || options.layout.chunk_rows > 0,
          "compression needs chunks; give the rows of a chunk too");
  if (options.kind == TaskKind::kTokens) {
    require(options.shape.empty() && options.features == 0,
            "tokens have neither shape nor features; leave --shape and --features out");
    require(options.classes <= kVocabulary,
            "a vocabulary of " + std::to_string(options.classes) +
                " does not fit the bytes that tokens are stored as; give at most 256");
    return;
  }
  require(options.shape.empty() || options.features == 0,
          "both a shape and features are given (an input has one form); give one of them");
  require(!options.shape.empty() || options.features > 0,
          "the inputs have no form; give --shape 3,32,32 or --features 64");
  require(options.kind == TaskKind::kClassification || options.shape.empty(),
          "regression inputs are flat; give --features instead of --shape");
  constexpr double kMostElements = 1 << 26;
  double elements = options.shape.empty() ? static_cast<double>(options.features) : 1;
  for (const auto length : options.shape) {
    require(length >= 1,
            "length " + std::to_string(length) + " in the shape is impossible; give 1 or more");
    elements *= static_cast<double>(length);
  }
  require(elements <= kMostElements, "one input has more than 67108864 values; make it smaller");
}

/// Calls `fill(row)` for all rows in blocks that fit `row_bytes`, and `flush(begin, count)` after
/// each block; `fill` gets the row and its place in the block.
template <class Fill, class Flush>
void in_blocks(std::int64_t rows, std::size_t row_bytes, const Fill& fill, const Flush& flush) {
  const auto block = std::max<std::int64_t>(1, static_cast<std::int64_t>(kBlockBytes / row_bytes));
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const auto count = std::min(block, rows - begin);
    for (std::int64_t i = 0; i < count; ++i) fill(begin + i, static_cast<std::size_t>(i));
    flush(begin, count);
  }
}

std::size_t block_rows(std::int64_t rows, std::size_t row_bytes) {
  return static_cast<std::size_t>(
      std::clamp<std::int64_t>(static_cast<std::int64_t>(kBlockBytes / row_bytes), 1, rows));
}

std::int64_t label_of(std::uint64_t seed, std::int64_t row, std::int64_t classes) {
  Words words(seed, Stream::kLabel, static_cast<std::uint64_t>(row));
  return static_cast<std::int64_t>(
      std::uint64_t{words.next()} * static_cast<std::uint64_t>(classes) >> 32);
}

/// One class's mean input, standard normal, constant over patches; a flat input is one line of an
/// image.
std::vector<float> prototype_of(const SynthOptions& options, std::span<const std::int64_t> shape,
                                std::int64_t label) {
  Words words(options.seed, Stream::kPrototype, static_cast<std::uint64_t>(label));
  std::vector<float> prototype(static_cast<std::size_t>(product(shape)));
  const auto height = shape.size() < 2 ? 1 : shape[shape.size() - 2];
  const auto width = shape.back();
  std::array<float, kPatches * kPatches> patches{};
  for (std::size_t plane = 0; plane < prototype.size();
       plane += static_cast<std::size_t>(height * width)) {
    for (auto& value : patches) value = words.normal();
    for (std::int64_t i = 0; i < height * width; ++i) {
      const auto patch_row = i / width * kPatches / height;
      const auto patch_column = i % width * kPatches / width;
      prototype[plane + static_cast<std::size_t>(i)] =
          patches[static_cast<std::size_t>(patch_row * kPatches + patch_column)];
    }
  }
  return prototype;
}

void write_classification(const SynthOptions& options, DatasetWriter& writer) {
  const auto classes = options.classes > 0 ? options.classes : kDefaultClasses;
  const bool bytes = !options.shape.empty();
  const auto shape = bytes ? options.shape : std::vector<std::int64_t>{options.features};
  const auto elements = static_cast<std::size_t>(product(shape));
  const auto row_bytes = elements * (bytes ? sizeof(std::uint8_t) : sizeof(float));
  std::vector<std::vector<float>> prototypes(static_cast<std::size_t>(classes));

  const auto block = block_rows(options.rows, row_bytes);
  std::vector<std::uint8_t> images(bytes ? block * elements : 0);
  std::vector<float> features(bytes ? 0 : block * elements);
  std::vector<std::int64_t> labels(block);
  const auto fill = [&](std::int64_t row, std::size_t place) {
    labels[place] = label_of(options.seed, row, classes);
    auto& prototype = prototypes[static_cast<std::size_t>(labels[place])];
    if (prototype.empty()) prototype = prototype_of(options, shape, labels[place]);
    Words noise(options.seed, Stream::kNoise, static_cast<std::uint64_t>(row));
    for (std::size_t i = 0; i < elements; ++i) {
      const float value = prototype[i] + noise.normal();
      if (bytes) {
        images[place * elements + i] =
            static_cast<std::uint8_t>(std::clamp(128.0f + 40.0f * value, 0.0f, 255.0f));
      } else {
        features[place * elements + i] = value;
      }
    }
  };

  auto column = shape;
  column.insert(column.begin(), options.rows);
  writer.add_column("x", bytes ? DType::kU8 : DType::kF32, column, options.layout);
  writer.add_column("y", DType::kI64, std::array{options.rows}, options.layout);
  in_blocks(options.rows, row_bytes, fill, [&](std::int64_t begin, std::int64_t count) {
    const auto rows = static_cast<std::size_t>(count);
    writer.write_rows("x", begin, count,
                      bytes ? std::as_bytes(std::span(images).first(rows * elements))
                            : std::as_bytes(std::span(features).first(rows * elements)));
    writer.write_rows("y", begin, count, std::as_bytes(std::span(labels).first(rows)));
  });
}

void write_regression(const SynthOptions& options, DatasetWriter& writer) {
  constexpr float kNoise = 0.1f;
  const auto elements = static_cast<std::size_t>(options.features);
  std::vector<float> teacher(elements);
  Words words(options.seed, Stream::kTeacher, 0);
  for (auto& weight : teacher) {
    weight = words.normal() / std::sqrt(static_cast<float>(options.features));
  }

  const auto row_bytes = elements * sizeof(float);
  const auto block = block_rows(options.rows, row_bytes);
  std::vector<float> inputs(block * elements);
  std::vector<float> targets(block);
  const auto fill = [&](std::int64_t row, std::size_t place) {
    Words noise(options.seed, Stream::kNoise, static_cast<std::uint64_t>(row));
    double sum = kNoise * noise.normal();
    for (std::size_t i = 0; i < elements; ++i) {
      const float value = noise.normal();
      inputs[place * elements + i] = value;
      sum += static_cast<double>(teacher[i]) * value;
    }
    targets[place] = static_cast<float>(sum);
  };

  writer.add_column("x", DType::kF32, std::array{options.rows, options.features}, options.layout);
  writer.add_column("y", DType::kF32, std::array{options.rows}, options.layout);
  in_blocks(options.rows, row_bytes, fill, [&](std::int64_t begin, std::int64_t count) {
    const auto rows = static_cast<std::size_t>(count);
    writer.write_rows("x", begin, count, std::as_bytes(std::span(inputs).first(rows * elements)));
    writer.write_rows("y", begin, count, std::as_bytes(std::span(targets).first(rows)));
  });
}

void write_tokens(const SynthOptions& options, DatasetWriter& writer) {
  // Each token is followed by one of four others, with odds 4 : 2 : 1 : 1.
  constexpr std::array<std::size_t, 8> kChoice = {0, 0, 0, 0, 1, 1, 2, 3};
  const auto vocabulary =
      static_cast<std::uint64_t>(options.classes > 0 ? options.classes : kVocabulary);
  std::vector<std::array<std::uint8_t, 4>> followers(vocabulary);
  Words chain(options.seed, Stream::kChain, 0);
  for (auto& choices : followers) {
    for (auto& token : choices) {
      token = static_cast<std::uint8_t>(chain.next() * vocabulary >> 32);
    }
  }

  std::vector<std::uint8_t> tokens(block_rows(options.rows, 1));
  Words walk(options.seed, Stream::kWalk, 0);
  std::uint8_t token = 0;
  const auto fill = [&](std::int64_t, std::size_t place) {
    // One step in 32 jumps anywhere, so that the walk is never caught in a small ring.
    const auto word = walk.next();
    token = word >> 27 == 0
                ? static_cast<std::uint8_t>(std::uint64_t{word & 0xffffff} * vocabulary >> 24)
                : followers[token][kChoice[word & 7]];
    tokens[place] = token;
  };
  writer.add_column("tokens", DType::kU8, std::array{options.rows}, options.layout);
  in_blocks(options.rows, 1, fill, [&](std::int64_t begin, std::int64_t count) {
    writer.write_rows("tokens", begin, count,
                      std::as_bytes(std::span(tokens).first(static_cast<std::size_t>(count))));
  });
}

}  // namespace

void synthesize(const SynthOptions& options) {
  check_options(options);
  DatasetWriter writer(options.output);
  switch (options.kind) {
    case TaskKind::kClassification: write_classification(options, writer); break;
    case TaskKind::kRegression: write_regression(options, writer); break;
    case TaskKind::kTokens: write_tokens(options, writer); break;
  }
  writer.commit();
}

}  // namespace lockstep::data
