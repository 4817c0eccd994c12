#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <string>

#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/elements.hpp"
#include "data/import/idx.hpp"
#include "data/statistics.hpp"
#include "idx_files.hpp"
#include "odd_files.hpp"
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
      import_idx(images, labels, directory.file("out.h5"), {.labels = labels_as, .layout = layout});

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

  import_idx(images, labels, directory.file("out.h5"));

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
    if (column.dtype == DType::kUnsupported) continue;
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
  EXPECT_EQ(file.access_of("plain"), "direct");
  EXPECT_EQ(file.column("flags").type_name, "enum");
  EXPECT_THAT(file.column("packed").filters,
              ::testing::ElementsAre("shuffle", "deflate", "fletcher32"));
}

}  // namespace
}  // namespace lockstep::data
