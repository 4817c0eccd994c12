#include "data/import/idx.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "data/dataset_file.hpp"
#include "data/source.hpp"
#include "idx_files.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::gzipped;
using tests::idx_bytes;
using tests::message_of;

constexpr std::uint8_t kByte = 0x08;

/// Two images of 2 x 3 bytes and their labels.
class ImportIdx : public ::testing::Test {
 protected:
  ImportIdx() {
    write("images", images_);
    write("labels", idx_bytes(kByte, {2}, {4, 9}));
  }

  void write(const std::string& name, const std::vector<std::byte>& bytes) {
    tests::write_file(directory_.file(name), bytes);
  }

  ImportResult import(const ImportIdxOptions& options = {}, const ColumnLayout& layout = {}) {
    return import_idx(directory_.file("images"), directory_.file("labels"),
                      {.path = output(), .layout = layout}, options);
  }

  std::string refusal() {
    auto message = message_of<base::DataError>([this] { import(); });
    EXPECT_FALSE(std::filesystem::exists(output())) << "something was left behind";
    return message;
  }

  std::string output() const { return directory_.file("out.h5"); }

  template <class T>
  std::vector<T> column(const std::string& name) {
    DatasetFile file(output());
    const auto& info = file.column(name);
    std::vector<T> values(static_cast<std::size_t>(info.rows() * info.row_elements()));
    file.read_rows(name, 0, info.rows(), std::as_writable_bytes(std::span(values)));
    return values;
  }

  tests::TemporaryDirectory directory_;
  std::vector<std::byte> images_ =
      idx_bytes(kByte, {2, 2, 3}, {0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255});
};

TEST_F(ImportIdx, WritesImagesAndLabels) {
  const auto result = import();

  EXPECT_EQ(result.rows, 2);
  EXPECT_EQ(result.bytes, 14u);
  EXPECT_THAT(column<std::uint8_t>("x"),
              ElementsAre(0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255));
  EXPECT_THAT(column<std::uint8_t>("y"), ElementsAre(4, 9));
  EXPECT_THAT(DatasetFile(output()).column("x").shape, ElementsAre(2, 2, 3));
}

TEST_F(ImportIdx, ReadsGzipWithoutBeingTold) {
  write("images", gzipped(images_));

  import();

  EXPECT_EQ(column<std::uint8_t>("x").back(), 255);
}

TEST_F(ImportIdx, WidensLabelsWhenAsked) {
  import({.labels = LabelType::kI64});

  EXPECT_THAT(column<std::int64_t>("y"), ElementsAre(4, 9));
}

TEST_F(ImportIdx, WritesChunksWhenAsked) {
  import({}, {.chunk_rows = 1, .deflate = 1});

  EXPECT_THAT(DatasetFile(output()).column("x").chunk, ElementsAre(1, 2, 3));
  EXPECT_EQ(column<std::uint8_t>("x").back(), 255);
}

TEST_F(ImportIdx, SwapsTheBytesOfLargerElements) {
  write("labels", idx_bytes(kByte, {1}, {0}));

  write("images", idx_bytes(0x09, {1, 1}, {0xff}));
  import();
  EXPECT_THAT(column<std::int8_t>("x"), ElementsAre(-1));

  write("images", idx_bytes(0x0b, {1, 1}, {0x01, 0x02}));
  import();
  EXPECT_THAT(column<std::int16_t>("x"), ElementsAre(0x0102));

  write("images", idx_bytes(0x0c, {1, 1}, {0xff, 0xff, 0xff, 0xfe}));
  import();
  EXPECT_THAT(column<std::int32_t>("x"), ElementsAre(-2));

  write("images", idx_bytes(0x0d, {1, 1}, {0x3f, 0xc0, 0, 0}));
  import();
  EXPECT_THAT(column<float>("x"), ElementsAre(1.5f));

  write("images", idx_bytes(0x0e, {1, 1}, {0xbf, 0xf8, 0, 0, 0, 0, 0, 0}));
  import();
  EXPECT_THAT(column<double>("x"), ElementsAre(-1.5));
}

TEST_F(ImportIdx, RefusesAnotherMagicNumber) {
  images_[0] = std::byte{1};
  write("images", images_);

  EXPECT_THAT(refusal(), AllOf(HasSubstr("images' is not an IDX file (its first two bytes"),
                               HasSubstr("MNIST family")));
}

TEST_F(ImportIdx, RefusesAnUnknownElementType) {
  images_[2] = std::byte{0x0a};
  write("images", images_);

  EXPECT_THAT(refusal(), HasSubstr("has the unknown element type 10 at byte 2"));
}

TEST_F(ImportIdx, RefusesAHeaderThatEnds) {
  images_.resize(10);
  write("images", images_);
  EXPECT_THAT(refusal(), HasSubstr("ends within its list of dimensions"));

  images_.resize(3);
  write("images", images_);
  EXPECT_THAT(refusal(), HasSubstr("ends within its magic number"));

  write("images", {});
  EXPECT_THAT(refusal(), HasSubstr("ends within its magic number"));
}

TEST_F(ImportIdx, RefusesAFileThatWasCutShort) {
  auto bytes = images_;
  bytes.pop_back();
  write("images", bytes);
  EXPECT_THAT(refusal(), HasSubstr("claims 28 bytes, but the file of 27 bytes ends before"));

  write("images", gzipped(bytes));
  EXPECT_THAT(refusal(), HasSubstr("ends at byte 27 of 28 (it was cut short)"));
}

TEST_F(ImportIdx, RefusesAGzipFileThatWasCutShortOrDamaged) {
  const auto packed = gzipped(images_);
  auto cut = packed;
  cut.resize(packed.size() - 6);
  write("images", cut);
  EXPECT_THAT(refusal(), HasSubstr("fetch it again"));

  auto flipped = packed;
  flipped[packed.size() - 5] ^= std::byte{1};
  write("images", flipped);
  EXPECT_THAT(refusal(), HasSubstr("fetch it again"));
}

TEST_F(ImportIdx, RefusesBytesAfterTheLastElement) {
  images_.push_back(std::byte{0});
  write("images", images_);

  EXPECT_THAT(refusal(), HasSubstr("goes on after its last element at byte 28"));
}

TEST_F(ImportIdx, RefusesFilesThatDoNotBelongTogether) {
  write("labels", idx_bytes(kByte, {3}, {1, 2, 3}));

  EXPECT_THAT(refusal(), HasSubstr("have 2 and 3 rows"));
}

TEST_F(ImportIdx, NoticesSwappedFiles) {
  const auto message = message_of<base::DataError>([this] {
    import_idx(directory_.file("labels"), directory_.file("images"), {.path = output()});
  });

  EXPECT_THAT(message, AllOf(HasSubstr("labels' has one dimension"),
                             HasSubstr("were labels and images swapped?")));
}

TEST_F(ImportIdx, RefusesLabelsWithDimensions) {
  write("labels", idx_bytes(kByte, {2, 1}, {1, 2}));

  EXPECT_THAT(refusal(), HasSubstr("has 2 dimensions (labels have one)"));
}

TEST_F(ImportIdx, RefusesDimensionsOfLengthZero) {
  write("images", idx_bytes(kByte, {2, 0, 3}, {}));

  EXPECT_THAT(refusal(), HasSubstr("has dimension 1 of length 0 before byte 12"));
}

TEST_F(ImportIdx, RefusesClaimsThatNoMemoryHolds) {
  write("images", idx_bytes(kByte, {2, 0xffffffff, 0xffffffff}, {1}));
  EXPECT_THAT(refusal(), HasSubstr("claims rows larger than 256 MiB"));

  write("images", gzipped(idx_bytes(kByte, {0xffffffff, 28, 28}, {1})));
  EXPECT_THAT(refusal(), HasSubstr("ends before"));
}

TEST_F(ImportIdx, NamesAFileThatIsMissing) {
  EXPECT_THAT(message_of<base::DataError>([this] {
                import_idx(directory_.file("nothing"), directory_.file("labels"),
                           {.path = output()});
              }),
              HasSubstr("nothing' cannot be opened"));
}

TEST_F(ImportIdx, KeepsTheOlderOutputWhenTheImportFails) {
  import();
  const auto before = tests::read_file(output());
  auto bytes = images_;
  bytes.pop_back();
  write("images", gzipped(bytes));

  EXPECT_THROW(import(), base::DataError);

  EXPECT_EQ(tests::read_file(output()), before);
}

#ifdef LOCKSTEP_FASHION_MNIST
TEST_F(ImportIdx, ReadsTheRealFashionImages) {
  const std::string set = LOCKSTEP_FASHION_MNIST;

  const auto result = import_idx(set + "/t10k-images-idx3-ubyte.gz",
                                 set + "/t10k-labels-idx1-ubyte.gz", {.path = output()});

  EXPECT_EQ(result.rows, 10'000);
  SourceOptions options;
  options.paths = {output()};
  const auto info = SampleSource(options).info();
  EXPECT_THAT(info.input_shape, ElementsAre(28, 28));
  EXPECT_EQ(info.classes, 10);
  const auto labels = column<std::uint8_t>("y");
  EXPECT_EQ(std::count(labels.begin(), labels.end(), 9), 1000);
  EXPECT_THAT(std::vector(labels.begin(), labels.begin() + 5), ElementsAre(9, 2, 1, 1, 6));
}
#endif

}  // namespace
}  // namespace lockstep::data
