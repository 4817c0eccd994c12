#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <string>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/elements.hpp"
#include "data/hdf5_library.hpp"
#include "data/hdf5_rows.hpp"
#include "data/import/idx.hpp"
#include "data/statistics.hpp"
#include "idx_files.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

/// The exit status of the oracle with these arguments.
int oracle(const std::vector<std::string>& arguments) {
  const std::string program = LOCKSTEP_H5PY_PYTHON " " LOCKSTEP_H5PY_ORACLE " ";
  return std::system((program + base::joined(arguments, " ")).c_str());
}

TEST(H5pyOracle, ReadsWhatImportWrote) {
  const tests::TemporaryDirectory directory;
  const auto images = directory.file("images");
  const auto labels = directory.file("labels");
  std::vector<std::uint8_t> elements(std::size_t{5} * 4 * 3 * 2);
  for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<std::uint8_t>(37 * i);
  tests::write_file(images, tests::gzipped(tests::idx_bytes(0x0b, {5, 4, 3}, elements)));
  tests::write_file(labels, tests::idx_bytes(0x08, {5}, {3, 1, 4, 1, 5}));

  for (const auto labels_as : {LabelType::kAsStored, LabelType::kI64}) {
    for (const auto layout : {ColumnLayout{}, ColumnLayout{.chunk_rows = 2, .deflate = 6}}) {
      import_idx(images, labels, {.path = directory.file("out.h5"), .layout = layout},
                 {.labels = labels_as});

      EXPECT_EQ(oracle({"check", directory.file("out.h5"), images, labels}), 0);
    }
  }
}

#ifdef LOCKSTEP_FASHION_MNIST
TEST(H5pyOracle, ReadsTheRealFashionImages) {
  const tests::TemporaryDirectory directory;
  const std::string set = LOCKSTEP_FASHION_MNIST;
  const auto images = set + "/train-images-idx3-ubyte.gz";
  const auto labels = set + "/train-labels-idx1-ubyte.gz";

  import_idx(images, labels, {.path = directory.file("out.h5")});

  EXPECT_EQ(oracle({"check", directory.file("out.h5"), images, labels}), 0);
}
#endif

TEST(H5pyOracle, GetsTheSameStatistics) {
  const tests::TemporaryDirectory directory;
  const auto path = directory.file("f.h5");
  std::vector<float> inputs(std::size_t{3000} * 3 * 5 * 5);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = static_cast<float>(i * 2654435761u % 1'000'003) / 1024 - 300;
  }
  std::vector<double> odd(1000, 0.1);
  odd[3] = std::numeric_limits<double>::quiet_NaN();
  odd[4] = -std::numeric_limits<double>::infinity();
  odd[5] = -8.5;
  std::vector<std::uint8_t> bytes(std::size_t{500} * 2 * 3 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 7);
  std::vector<std::int32_t> numbers(5000);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(i * 2654435761u));
  }
  DatasetWriter writer(path);
  tests::add_column(writer, "bytes", DType::kU8, {500, 2, 3, 3}, bytes);
  tests::add_column(writer, "numbers", DType::kI32, {1000, 5}, numbers);
  tests::add_column(writer, "odd", DType::kF64, {1000}, odd);
  tests::add_column(writer, "x", DType::kF32, {3000, 3, 5, 5}, inputs);
  writer.commit();
  const auto json = to_json(statistics(path));
  tests::write_file(directory.file("stats.json"), std::as_bytes(std::span(json)));

  EXPECT_EQ(oracle({"stats", path, directory.file("stats.json")}), 0);
}

TEST(H5pyOracle, WritesFilesThatAreReadAsItMeantThem) {
  const tests::TemporaryDirectory directory;
  ASSERT_EQ(oracle({"write", directory.file("f.h5")}), 0);
  DatasetFile file(directory.file("f.h5"));

  int read = 0;
  for (const auto& column : file.columns()) {
    if (column.dtype == DType::kUnsupported || column.name == "flags") continue;
    std::vector<std::byte> raw(20 * column.row_bytes());
    file.read_rows(column.name, 0, 20, raw);
    detail::with_elements(column.dtype, raw, [&]<class T>(std::span<const T> elements) {
      for (std::size_t i = 0; i < elements.size(); ++i) {
        EXPECT_EQ(static_cast<double>(elements[i]), static_cast<double>(i)) << column.name;
      }
    });
    ++read;
  }

  EXPECT_EQ(read, 6);
  EXPECT_EQ(file.access_of("plain"), RowAccess::kMapped);
  EXPECT_EQ(file.column("flags").type_name, "boolean");
  EXPECT_THAT(file.column("packed").filters,
              ::testing::ElementsAre("shuffle", "deflate", "fletcher32"));
}

/// What H5Dread gives for a whole column.
std::vector<std::byte> read_by_hdf5(const std::string& path, const ColumnInfo& column) {
  const detail::Hdf5Lock lock;
  const detail::Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const detail::Hdf5Handle dataset(H5Dopen2(file.id(), column.dataset.c_str(), H5P_DEFAULT),
                                   H5Dclose);
  std::vector<std::byte> all(static_cast<std::size_t>(column.rows()) * column.row_bytes());
  detail::Hdf5Rows(dataset.id(), column, path).read(0, column.rows(), all);
  return all;
}

/// Our own reading, in every way there is, against HDF5's.
void expect_as_hdf5_reads(DatasetFile& file, const ColumnInfo& column, std::mt19937_64& random) {
  const auto what = column.name + " " + column.type_name + " " + file.access_text(column.name) +
                    " of " + file.path();
  const auto expected = read_by_hdf5(file.path(), column);
  const auto row_bytes = column.row_bytes();
  std::vector<std::byte> all(expected.size());
  file.read_rows(column.name, 0, column.rows(), all);
  ASSERT_TRUE(all == expected) << what << ", all rows";

  std::vector<std::int64_t> rows(40);
  for (auto& row : rows) row = static_cast<std::int64_t>(random() % column.shape[0]);
  std::vector<std::byte> some(rows.size() * row_bytes);
  file.read_rows(column.name, rows, some);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(
        std::memcmp(some.data() + i * row_bytes,
                    expected.data() + static_cast<std::size_t>(rows[i]) * row_bytes, row_bytes),
        0)
        << what << ", row " << rows[i];
  }

  const auto begin = static_cast<std::int64_t>(random() % column.shape[0]);
  const auto count = 1 + static_cast<std::int64_t>(random() % (column.shape[0] - begin));
  some.resize(static_cast<std::size_t>(count) * row_bytes);
  file.read_rows(column.name, begin, count, some);
  ASSERT_EQ(std::memcmp(some.data(), expected.data() + static_cast<std::size_t>(begin) * row_bytes,
                        some.size()),
            0)
      << what << ", rows from " << begin;
}

TEST(H5pyOracle, ReadsEveryLayoutAsHdf5Does) {
  const tests::TemporaryDirectory directory;
  // Debian's LZF plugin of HDF5, which the reference reading needs, expects it in the process.
  ASSERT_NE(::dlopen("liblzf.so.1", RTLD_NOW | RTLD_GLOBAL), nullptr) << ::dlerror();
  const char* more = std::getenv("LOCKSTEP_RECIPE_FILES");
  const int files = more == nullptr ? 6 : std::atoi(more);
  std::map<RowAccess, int> seen;
  for (int seed = 0; seed < files; ++seed) {
    const auto path = directory.file("f.h5");
    ASSERT_EQ(oracle({"recipes", path, std::to_string(seed), "60"}), 0);
    std::mt19937_64 random(static_cast<std::uint64_t>(seed));
    DatasetFile file(path, {.cache_bytes = seed % 3 == 0 ? 0u : seed % 3 == 1 ? 9000u : 1u << 20});

    for (const auto& column : file.columns()) {
      if (column.dtype == DType::kUnsupported) continue;
      expect_as_hdf5_reads(file, column, random);
      if (HasFatalFailure()) return;
      ++seen[file.access_of(column.name)];
    }
    EXPECT_THAT(file.read_strings("words", 1, 3),
                ::testing::ElementsAre("one", "zwei", "\u00e9t\u00e9"));
    EXPECT_THAT(file.read_strings("fixed", 0, 4), ::testing::ElementsAre("", "a", "bcd", "xyz"));
    EXPECT_EQ(file.column("brain").dtype, DType::kBF16);
  }
  for (const auto access : {RowAccess::kMapped, RowAccess::kConverted, RowAccess::kDecoded}) {
    EXPECT_GT(seen[access], files) << static_cast<int>(access);
  }
}

TEST(H5pyOracle, ReadsWhatLiesInOtherFilesAndMissesThemAloud) {
  const tests::TemporaryDirectory directory;
  ASSERT_EQ(oracle({"elsewhere", directory.path()}), 0);
  const auto path = directory.file("all.h5");
  const auto first_of = [&](const std::string& name, std::int64_t row) {
    DatasetFile file(path);
    std::vector<float> values(3);
    file.read_rows(name, row, 1, std::as_writable_bytes(std::span(values)));
    return values[0];
  };

  EXPECT_EQ(first_of("virtual", 13), 39);
  EXPECT_EQ(first_of("linked", 3), 39);
  EXPECT_EQ(first_of("raw", 13), 39);
  DatasetFile file(path);
  EXPECT_EQ(file.access_text("virtual"), "HDF5 (virtual)");
  EXPECT_EQ(file.access_text("linked"), "HDF5 (external link)");
  EXPECT_EQ(file.access_text("raw"), "HDF5 (external raw files)");
  EXPECT_THAT(tests::message_of<base::DataError>([&] { first_of("dangling", 0); }),
              ::testing::HasSubstr("missing external file 'gone.h5'"));

  std::filesystem::resize_file(directory.file("raw1"), 100);
  EXPECT_THAT(tests::message_of<base::DataError>([&] { first_of("raw", 0); }),
              ::testing::HasSubstr("raw1', which ends before byte 120"));
  std::filesystem::remove(directory.file("part1.h5"));
  // HDF5 would give -1 here.
  EXPECT_THAT(tests::message_of<base::DataError>([&] { first_of("virtual", 13); }),
              ::testing::HasSubstr("'part1.h5', which does not exist"));
}

}  // namespace
}  // namespace lockstep::data
