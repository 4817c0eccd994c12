#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/elements.hpp"
#include "data/import/idx.hpp"
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
