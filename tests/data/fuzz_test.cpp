// Files whose bytes were changed at random: each must end in an Error or in values, never in a
// crash, a hang or a file left behind. LOCKSTEP_FUZZ_ROUNDS asks for more rounds than the default.

#include <gtest/gtest.h>
#include <hdf5.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/error.hpp"
#include "data/dataset_file.hpp"
#include "data/import/csv.hpp"
#include "data/import/idx.hpp"
#include "data/import/images.hpp"
#include "data/import/npy.hpp"
#include "data/import/npz.hpp"
#include "data/inspect.hpp"
#include "data/source.hpp"
#include "data/statistics.hpp"
#include "data/synth.hpp"
#include "data/verify.hpp"
#include "idx_files.hpp"
#include "image_files.hpp"
#include "npy_files.hpp"
#include "odd_files.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using Bytes = std::vector<std::byte>;

int rounds() {
  const char* text = std::getenv("LOCKSTEP_FUZZ_ROUNDS");
  return text == nullptr ? 300 : std::atoi(text);
}

std::size_t below(std::mt19937_64& random, std::size_t limit) { return random() % limit; }

/// Flips bits, overwrites, cuts, inserts or repeats a few bytes.
Bytes mutated(Bytes bytes, std::mt19937_64& random) {
  const auto changes = 1 + below(random, 4);
  for (std::size_t i = 0; i < changes && !bytes.empty(); ++i) {
    const auto place = below(random, bytes.size());
    switch (below(random, 6)) {
      case 0: bytes[place] ^= static_cast<std::byte>(1u << below(random, 8)); break;
      case 1: bytes[place] = static_cast<std::byte>(random()); break;
      case 2: bytes[place] = below(random, 2) == 0 ? std::byte{0} : std::byte{0xff}; break;
      case 3: bytes.resize(place); break;
      case 4:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(place),
                     static_cast<std::byte>(random()));
        break;
      default:
        for (auto at = place; at < std::min(place + 8, bytes.size()); ++at) {
          bytes[at] = static_cast<std::byte>(random());
        }
    }
  }
  return bytes;
}

struct Outcome {
  int errors = 0;
  int values = 0;
};

TEST(Fuzz, DamagedIdxFilesEndInAnErrorOrInAFile) {
  const tests::TemporaryDirectory directory;
  const auto images = directory.file("images");
  const auto labels = directory.file("labels");
  const auto output = directory.file("out.h5");
  const auto plain = tests::idx_bytes(0x08, {4, 3, 2}, std::vector<std::uint8_t>(24, 7));
  const auto plain_labels = tests::idx_bytes(0x08, {4}, {0, 1, 2, 3});
  Outcome outcome;

  for (int round = 0; round < rounds(); ++round) {
    std::mt19937_64 random(static_cast<std::uint64_t>(round));
    const auto original = round % 2 == 0 ? plain : tests::gzipped(plain);
    tests::write_file(images, mutated(original, random));
    tests::write_file(labels, round % 3 == 0 ? mutated(plain_labels, random) : plain_labels);
    std::filesystem::remove(output);
    try {
      import_idx(images, labels, {.path = output});
      ++outcome.values;
      ASSERT_EQ(DatasetFile(output).rows(), 4) << "round " << round;
    } catch (const base::DataError&) {
      ++outcome.errors;
      ASSERT_FALSE(std::filesystem::exists(output)) << "round " << round;
    }
  }

  EXPECT_GT(outcome.errors, rounds() / 3);
  EXPECT_GT(outcome.values, rounds() / 50);
}

TEST(Fuzz, DamagedCsvFilesEndInAnErrorOrInAFile) {
  const tests::TemporaryDirectory directory;
  const auto input = directory.file("in.csv");
  const auto output = directory.file("out.h5");
  const std::string text = "a,\"b\",class\n1,2.5,red\n-3,4e1,\"gr,een\"\n+5,.5,blue\n7,8,red\n";
  const auto plain =
      Bytes(std::as_bytes(std::span(text)).begin(), std::as_bytes(std::span(text)).end());
  Outcome outcome;

  for (int round = 0; round < rounds(); ++round) {
    std::mt19937_64 random(static_cast<std::uint64_t>(round));
    tests::write_file(input, mutated(round % 3 == 0 ? tests::gzipped(plain) : plain, random));
    std::filesystem::remove(output);
    ImportCsvOptions options;
    if (round % 2 == 0) options.table.bad_rows = BadInput::kSkip;
    if (round % 5 == 0) options.table.text_features = TextFeatures::kEncode;
    try {
      const auto result = import_csv(input, {.path = output}, options);
      ++outcome.values;
      ASSERT_EQ(DatasetFile(output).rows(), result.rows) << "round " << round;
    } catch (const base::DataError&) {
      ++outcome.errors;
      ASSERT_FALSE(std::filesystem::exists(output)) << "round " << round;
    }
  }

  EXPECT_GT(outcome.errors, rounds() / 10);
  EXPECT_GT(outcome.values, rounds() / 10);
}

TEST(Fuzz, DamagedNpyFilesEndInAnErrorOrInAFile) {
  const tests::TemporaryDirectory directory;
  const auto input = directory.file("x.npy");
  const auto output = directory.file("out.h5");
  const std::vector<float> elements(24, 1.5f);
  Outcome outcome;

  for (int round = 0; round < rounds(); ++round) {
    std::mt19937_64 random(static_cast<std::uint64_t>(round));
    const std::string order = round % 2 == 0 ? "True" : "False";
    tests::write_file(input, mutated(tests::npy_bytes("{'descr': '<f4', 'fortran_order': " + order +
                                                          ", 'shape': (4, 3, 2), }",
                                                      tests::bytes_of(elements)),
                                     random));
    std::filesystem::remove(output);
    try {
      const auto result = import_npy(input, "", {.path = output});
      ++outcome.values;
      ASSERT_EQ(DatasetFile(output).rows(), result.rows) << "round " << round;
    } catch (const base::DataError&) {
      ++outcome.errors;
      ASSERT_FALSE(std::filesystem::exists(output)) << "round " << round;
    }
  }

  EXPECT_GT(outcome.errors, rounds() / 3);
  EXPECT_GT(outcome.values, rounds() / 10);
}

TEST(Fuzz, DamagedNpzFilesEndInAnErrorOrInAFile) {
  const tests::TemporaryDirectory directory;
  const auto input = directory.file("in.npz");
  const auto output = directory.file("out.h5");
  const auto array = tests::npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 6)}",
                                      tests::bytes_of(std::vector<float>(24, 1.5f)));
  tests::write_npz(input, {{"x.npy", array}, {"y.npy", array}}, tests::Packing::kDeflated);
  const auto original = tests::read_file(input);
  Outcome outcome;

  for (int round = 0; round < rounds(); ++round) {
    std::mt19937_64 random(static_cast<std::uint64_t>(round));
    tests::write_file(input, mutated(original, random));
    std::filesystem::remove(output);
    try {
      import_npz(input, {.path = output});
      ++outcome.values;
      ASSERT_EQ(DatasetFile(output).rows(), 4) << "round " << round;
    } catch (const base::DataError&) {
      ++outcome.errors;
      ASSERT_FALSE(std::filesystem::exists(output)) << "round " << round;
    }
  }

  EXPECT_GT(outcome.errors, rounds() / 3);
  EXPECT_GT(outcome.values, rounds() / 50);
}

TEST(Fuzz, DamagedImagesEndInAnErrorOrInAFile) {
  const tests::TemporaryDirectory directory;
  const auto output = directory.file("out.h5");
  std::filesystem::create_directories(directory.file("f/a"));
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < 8 * 8 * 3; ++i) pixels.push_back(static_cast<std::uint8_t>(i * i));
  Outcome outcome;

  for (int round = 0; round < rounds(); ++round) {
    std::mt19937_64 random(static_cast<std::uint64_t>(round));
    // The decoder goes by the file's contents.
    tests::write_file(directory.file("f/a/1.png"),
                      mutated(round % 2 == 0 ? tests::png_bytes(8, 8, 3, pixels)
                                             : tests::jpeg_bytes(8, 8, 3, pixels),
                              random));
    std::filesystem::remove(output);
    ImportImagesOptions options;
    if (round % 3 == 0) options.size = ImageSize{3, 5};
    try {
      import_images(directory.file("f"), {.path = output}, options);
      ++outcome.values;
      ASSERT_EQ(DatasetFile(output).rows(), 1) << "round " << round;
    } catch (const base::DataError&) {
      ++outcome.errors;
      ASSERT_FALSE(std::filesystem::exists(output)) << "round " << round;
    }
  }

  EXPECT_GT(outcome.errors, rounds() / 3);
  EXPECT_GT(outcome.values, rounds() / 20);
}

/// Reads all there is to read.
void read_everything(const std::string& path) {
  inspect(path);
  verify(path);
  statistics(path, {.per_class = StatisticsOptions::PerClass::kCounts});
  SourceOptions options;
  options.paths = {path};
  options.context = 4;
  SampleSource source(options);
  Batch batch;
  for (std::int64_t row = 0; row < std::min<std::int64_t>(source.info().samples, 100); ++row) {
    source.read(std::vector<std::int64_t>{row}, batch);
  }
}

/// HDF5 itself loses memory on damaged files; what this folder loses is found by the other tests.
class FuzzHdf5 : public ::testing::Test {
#ifdef __SANITIZE_ADDRESS__
 protected:
  FuzzHdf5() {
    // Memory that HDF5 keeps for reuse was allocated in sight of the leak check.
    H5garbage_collect();
    __lsan_disable();
  }
  ~FuzzHdf5() override { __lsan_enable(); }
#endif
};

void fuzz_hdf5(const std::string& path, std::uint64_t first_seed) {
  const auto original = tests::read_file(path);
  Outcome outcome;
  for (int round = 0; round < rounds(); ++round) {
    std::mt19937_64 random(first_seed + static_cast<std::uint64_t>(round));
    tests::write_file(path, mutated(original, random));
    try {
      read_everything(path);
      ++outcome.values;
    } catch (const base::DataError&) {
      ++outcome.errors;
    }
  }
  EXPECT_EQ(outcome.errors + outcome.values, rounds());
  EXPECT_GT(outcome.errors, rounds() / 10);
}

TEST_F(FuzzHdf5, DamagedContiguousFilesEndInAnErrorOrInValues) {
  const tests::TemporaryDirectory directory;
  SynthOptions synth;
  synth.rows = 20;
  synth.features = 2;
  synth.output = directory.file("f.h5");
  synthesize(synth);

  fuzz_hdf5(synth.output, 1000);
}

TEST_F(FuzzHdf5, DamagedDeflatedFilesEndInAnErrorOrInValues) {
  const tests::TemporaryDirectory directory;
  SynthOptions synth;
  synth.rows = 20;
  synth.shape = {1, 2, 2};
  synth.layout = {.chunk_rows = 4, .deflate = 3};
  synth.output = directory.file("f.h5");
  synthesize(synth);

  fuzz_hdf5(synth.output, 2000);
}

TEST_F(FuzzHdf5, DamagedTokenFilesEndInAnErrorOrInValues) {
  const tests::TemporaryDirectory directory;
  SynthOptions synth;
  synth.kind = TaskKind::kTokens;
  synth.rows = 100;
  synth.output = directory.file("f.h5");
  synthesize(synth);

  fuzz_hdf5(synth.output, 3000);
}

TEST_F(FuzzHdf5, DamagedFilesOfTheOldestFormatEndInAnErrorOrInValues) {
  const tests::TemporaryDirectory directory;
  tests::OddColumn inputs;
  inputs.shape = {6, 2};
  inputs.bytes = tests::bytes_of(std::vector<float>(12, 1.5f));
  tests::OddColumn targets;
  targets.name = "y";
  targets.dtype = DType::kI32;
  targets.shape = {6};
  targets.bytes = tests::bytes_of(std::vector<std::int32_t>{0, 1, 2, 0, 1, 2});
  targets.chunk = {4};
  targets.deflate = 1;
  tests::OddFile(directory.file("f.h5"), tests::FileFormat::kOldest).add(inputs).add(targets);

  fuzz_hdf5(directory.file("f.h5"), 4000);
}

}  // namespace
}  // namespace lockstep::data
