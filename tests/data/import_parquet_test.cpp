#include "data/import/parquet.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "imported.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::message_of;

#ifndef LOCKSTEP_PARQUET_PYTHON

TEST(ImportParquet, SaysWhatToInstallWhereArrowIsMissing) {
  const tests::TemporaryDirectory directory;
  tests::write_text(directory.file("in.parquet"), "PAR1");

  EXPECT_THAT(message_of<base::EnvironmentError>([&] {
                import_parquet(directory.file("in.parquet"), {.path = directory.file("out.h5")});
              }),
              HasSubstr("pip install pyarrow"));
}

#else

/// Files that pyarrow wrote, once for all tests.
class ImportParquet : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new tests::TemporaryDirectory;
    const std::string command = LOCKSTEP_PARQUET_PYTHON " " LOCKSTEP_PARQUET_FILES " ";
    ASSERT_EQ(std::system((command + directory_->path()).c_str()), 0);
  }
  static void TearDownTestSuite() { delete directory_; }

  ImportResult import(const std::string& name, const TableOptions& options = {}) {
    return import_parquet(directory_->file(name), {.path = output()}, options);
  }
  std::string refusal(const std::string& name, const TableOptions& options = {}) {
    std::filesystem::remove(output());
    auto message = message_of<base::DataError>([&] { import(name, options); });
    EXPECT_FALSE(std::filesystem::exists(output())) << "something was left behind";
    return message;
  }
  static std::string output() { return directory_->file("out.h5"); }
  static std::vector<float> x() { return tests::column_of<float>(output(), "x"); }

  static tests::TemporaryDirectory* directory_;
};
tests::TemporaryDirectory* ImportParquet::directory_ = nullptr;

TEST_F(ImportParquet, ReadsEveryTypeOfNumberAndText) {
  const auto result = import("types.parquet", {.text_features = TextFeatures::kEncode});

  EXPECT_THAT(result.datasets, ElementsAre("x f32 [3, 9]", "y i64 [3]"));
  EXPECT_THAT(x(), ElementsAre(1, 4, 1, 0.5, 0.25, 7, 1, 1, 1,  //
                               2, 5, 0, 1.5, 1, 8, 0, 1, 0,     //
                               -3, 6, 1, -2.5, 2, 9, 1, 0, 0));
  EXPECT_THAT(tests::column_of<std::int64_t>(output(), "y"), ElementsAre(2, 0, 1));
  EXPECT_EQ(tests::attribute_of(output(), "categories"),
            R"({"text":["a","b"],"large":["y","z"],"coded":["p","q"]})");
  EXPECT_EQ(tests::attribute_of(output(), "source"),
            R"({"format":"parquet","files":["types.parquet"]})");
}

TEST_F(ImportParquet, TakesColumnsInTheOrderThatIsAskedFor) {
  import("types.parquet", {.target = "coded", .features = { "f64", "i8" }});

  EXPECT_THAT(x(), ElementsAre(7, 1, 8, 2, 9, -3));
  EXPECT_EQ(tests::attribute_of(output(), "classes"), R"(["p","q"])");
}

TEST_F(ImportParquet, LaysListsOutAsInputs) {
  const auto result = import("lists.parquet");

  EXPECT_THAT(x(), ElementsAre(1, 2, 1, 2, 7, 3, 4, 3, 4, 8, 5, 6, 5, 6, 9));
  EXPECT_THAT(tests::column_of<float>(output(), "y"), ElementsAre(0.5, 1.5, 2.5));
  EXPECT_EQ(result.columns[1].use, "x[2 to 3]");
}

TEST_F(ImportParquet, ListsRowsWithNullsAndListsOfAnotherLength) {
  EXPECT_THAT(refusal("bad.parquet"),
              AllOf(HasSubstr("3 rows of"), HasSubstr("\n  row 2, column 'a': is empty"),
                    HasSubstr("\n  row 3, column 'list': has 1 number, not 2"),
                    HasSubstr("\n  row 4, column 'a': is not finite")));

  import("bad.parquet", {.bad_rows = BadInput::kSkip});
  EXPECT_THAT(x(), ElementsAre(1, 1, 2));
  EXPECT_EQ(tests::attribute_of(output(), "skipped"), "3");
}

TEST_F(ImportParquet, RefusesColumnsOfDatesAndLeavesAnIndexOut) {
  EXPECT_THAT(refusal("dates.parquet"),
              AllOf(HasSubstr("column 'when' of"), HasSubstr("timestamp[ms]")));

  import("dates.parquet", {.drop = { "when" }});
  EXPECT_THAT(x(), ElementsAre(1, 2));
}

TEST_F(ImportParquet, EndsInAnErrorOrInAFileWhateverIsDamaged) {
  const auto original = tests::read_file(directory_->file("types.parquet"));
  const auto path = directory_->file("damaged.parquet");
  int errors = 0;

  for (std::size_t round = 0; round < 200; ++round) {
    auto bytes = original;
    // Steps through the file: magic bytes, pages, footer and its length.
    const auto place = round * bytes.size() / 200;
    if (round % 4 == 3) {
      bytes.resize(place);
    } else {
      bytes[place] ^= static_cast<std::byte>(1u << (round % 8));
      bytes[bytes.size() - 1 - place] ^= static_cast<std::byte>(1u << (round / 8 % 8));
    }
    tests::write_file(path, bytes);
    std::filesystem::remove(output());
    try {
      import("damaged.parquet", {.text_features = TextFeatures::kEncode});
    } catch (const base::DataError&) {
      ++errors;
      ASSERT_FALSE(std::filesystem::exists(output())) << "round " << round;
    }
  }

  EXPECT_GT(errors, 100);
}

#endif

}  // namespace
}  // namespace lockstep::data
