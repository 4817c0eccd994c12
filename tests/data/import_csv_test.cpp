#include "data/import/csv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <random>

#include "base/error.hpp"
#include "data/source.hpp"
#include "idx_files.hpp"
#include "imported.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using tests::message_of;

class ImportCsv : public ::testing::Test {
 protected:
  void write(const std::string& text) { tests::write_text(input(), text); }

  ImportResult import(const ImportCsvOptions& options = {}, const ColumnLayout& layout = {}) {
    return import_csv(input(), {.path = output(), .layout = layout}, options);
  }
  ImportResult import(TableOptions table) { return import(ImportCsvOptions{.table = table}); }

  std::string refusal(const ImportCsvOptions& options = {}) {
    auto message = message_of<base::DataError>([&] { import(options); });
    EXPECT_FALSE(std::filesystem::exists(output())) << "something was left behind";
    return message;
  }

  std::string input() const { return directory_.file("in.csv"); }
  std::string output() const { return directory_.file("out.h5"); }
  std::vector<float> x() const { return tests::column_of<float>(output(), "x"); }
  std::vector<std::int64_t> classes() const {
    return tests::column_of<std::int64_t>(output(), "y");
  }
  std::vector<float> values() const { return tests::column_of<float>(output(), "y"); }
  std::string attribute(const std::string& name) const {
    return tests::attribute_of(output(), name);
  }

  tests::TemporaryDirectory directory_;
};

TEST_F(ImportCsv, WritesFeaturesAndClasses) {
  write("a,b,label\n1,2.5,0\n-3,4e1,2\n");

  const auto result = import();

  EXPECT_EQ(result.rows, 2);
  EXPECT_EQ(result.bytes, 2u * (2 * 4 + 8));
  EXPECT_THAT(result.datasets, ElementsAre("x f32 [2, 2]", "y i64 [2]"));
  EXPECT_THAT(x(), ElementsAre(1, 2.5, -3, 40));
  EXPECT_THAT(classes(), ElementsAre(0, 2));
  EXPECT_EQ(attribute("source"), R"({"format":"csv","files":["in.csv"]})");
  EXPECT_EQ(attribute("features"), R"(["a","b"])");
  EXPECT_EQ(attribute("skipped"), "");
  ASSERT_EQ(result.columns.size(), 3u);
  EXPECT_EQ(result.columns[1].type, "float");
  EXPECT_EQ(result.columns[1].use, "x[1]");
  EXPECT_EQ(result.columns[2].use, "y, classes");
}

TEST_F(ImportCsv, MakesAFileThatTrainingReads) {
  write("a,label\n1,0\n2,1\n3,1\n");

  import();

  SourceOptions options;
  options.paths = {output()};
  EXPECT_EQ(SampleSource(options).info().classes, 2);
}

TEST_F(ImportCsv, GivesTheSameBytesForTheSameInput) {
  write("a,label\n1,0\n2,1\n");

  import();
  const auto first = tests::read_file(output());
  import();

  EXPECT_EQ(tests::read_file(output()), first);
}

TEST_F(ImportCsv, ReadsGzip) {
  const std::string text = "a,label\n1,0\n2,1\n";
  const auto bytes = std::as_bytes(std::span(text));
  tests::write_file(input(), tests::gzipped({bytes.begin(), bytes.end()}));

  import();

  EXPECT_THAT(x(), ElementsAre(1, 2));
}

TEST_F(ImportCsv, MakesValuesOfTargetsThatAreNoIntegers) {
  write("a,b\n1,0.5\n2,3\n");

  EXPECT_EQ(import().columns[1].use, "y, values");
  EXPECT_THAT(values(), ElementsAre(0.5, 3));
}

TEST_F(ImportCsv, MakesValuesOfIntegersWhenTold) {
  write("a,b\n1,-5\n2,3\n");

  import({.target_kind = TargetKind::kValues});

  EXPECT_THAT(values(), ElementsAre(-5, 3));
}

TEST_F(ImportCsv, NumbersTextClassesInSortedOrder) {
  write("a,class\n1,iris\n2,\"aster\"\"s\"\n3,iris\n");

  EXPECT_EQ(import().columns[1].use, "y, 2 classes");
  EXPECT_THAT(classes(), ElementsAre(1, 0, 1));
  EXPECT_EQ(attribute("classes"), R"(["aster\"s","iris"])");
}

TEST_F(ImportCsv, TakesTheTargetByTheUsualNamesBeforeTheLastColumn) {
  write("y,a,b\n7,1,2\n");
  import();
  EXPECT_THAT(classes(), ElementsAre(7));

  write("a,target,b\n1,7,2\n");
  import();
  EXPECT_THAT(classes(), ElementsAre(7));

  write("a,b,c\n1,2,7\n");
  import();
  EXPECT_THAT(classes(), ElementsAre(7));
}

TEST_F(ImportCsv, TakesColumnsByNameAndByNumber) {
  write("a,b,c,d\n1,2,3,4\n");

  import({.target = "2", .features = { "d", "1" }});
  EXPECT_THAT(x(), ElementsAre(4, 1));
  EXPECT_THAT(classes(), ElementsAre(2));

  import({.drop = { "b", "1" }});
  EXPECT_THAT(x(), ElementsAre(3));
}

TEST_F(ImportCsv, NamesTheNearestColumn) {
  write("width,height,label\n1,2,3\n");

  EXPECT_THAT(message_of<base::ConfigError>([this] { import({.target = "lable"}); }),
              AllOf(HasSubstr("column 'lable' is not in"), HasSubstr("did you mean 'label'?")));
  EXPECT_THAT(message_of<base::ConfigError>([this] { import({.target = "9"}); }),
              HasSubstr("a number from 1 to 3"));
}

TEST_F(ImportCsv, RefusesAColumnWithTwoUses) {
  write("a,b,label\n1,2,3\n");

  EXPECT_THAT(message_of<base::ConfigError>([this] {
                import({.features = { "a", "label" }});
              }),
              HasSubstr("'label' is named as a feature, and as something else too"));
  EXPECT_THAT(message_of<base::ConfigError>([this] {
                import({.drop = { "label" }});
              }),
              HasSubstr("is the target and is dropped too"));
}

TEST_F(ImportCsv, RefusesTextFeaturesUnlessTheyAreToBeNumbered) {
  write("color,a,label\nred,1,0\nblue,2,1\nred,3,1\n");

  EXPECT_THAT(refusal(), AllOf(HasSubstr("column 'color' of"), HasSubstr("text such as 'red'"),
                               HasSubstr("--categories"), HasSubstr("--drop color")));

  const auto result = import({.text_features = TextFeatures::kEncode});
  EXPECT_THAT(x(), ElementsAre(1, 1, 0, 2, 1, 3));
  EXPECT_EQ(attribute("categories"), R"({"color":["blue","red"]})");
  EXPECT_EQ(result.columns[0].use, "x[0], 2 categories");
}

TEST_F(ImportCsv, DetectsWhetherThereIsAHeader) {
  write("1,2,0\n3,4,1\n");
  import();
  EXPECT_THAT(x(), ElementsAre(1, 2, 3, 4));

  write("0,1,label\n3,4,1\n");
  import();
  EXPECT_THAT(x(), ElementsAre(3, 4)) << "a text over a number";

  write("0,1,2\n3,4,1\n");
  import();
  EXPECT_THAT(x(), ElementsAre(3, 4)) << "as pandas names the columns of an array";
}

TEST_F(ImportCsv, TakesTheHeaderAsToldTo) {
  write("5,6,7\n3,4,1\n");
  import(ImportCsvOptions{.header = CsvHeader::kYes});
  EXPECT_THAT(x(), ElementsAre(3, 4));
  EXPECT_EQ(attribute("features"), R"(["5","6"])");

  write("0,1,2\n3,4,1\n");
  import(ImportCsvOptions{.header = CsvHeader::kNo});
  EXPECT_THAT(x(), ElementsAre(0, 1, 3, 4));
}

TEST_F(ImportCsv, LeavesAColumnWithoutANameOut) {
  write(",a,label\n0,5,1\n1,6,1\n");

  const auto result = import();

  EXPECT_THAT(x(), ElementsAre(5, 6));
  EXPECT_EQ(result.columns[0].use, "left out (no name)");
  import({.features = { "1", "a" }});
  EXPECT_THAT(x(), ElementsAre(0, 5, 1, 6));
}

TEST_F(ImportCsv, ReadsWhatRfc4180Allows) {
  write("\xEF\xBB\xBF\"a\",\"the\r\n\"\"b\"\"\",label\r\n\r\n 1 ,\"2\",0\r\n3,4,1");

  import();

  EXPECT_THAT(x(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(attribute("features"), R"(["a","the\r\n\"b\""])");
}

TEST_F(ImportCsv, ReadsOtherDelimiters) {
  write("a\tlabel\n1\t0\n");
  import(ImportCsvOptions{.delimiter = '\t'});
  EXPECT_THAT(x(), ElementsAre(1));
}

TEST_F(ImportCsv, ThinksOfTheDelimiterWhenThereIsOneColumn) {
  write("a;label\n1;0\n");
  EXPECT_THAT(refusal(), HasSubstr("has no column for the inputs"));
  EXPECT_THAT(message_of<base::ConfigError>([this] { import(ImportCsvOptions{.delimiter = '"'}); }),
              HasSubstr("another --delimiter"));
}

TEST_F(ImportCsv, ListsBadRowsWithTheirLinesAndColumns) {
  write("a,b,label\n1,2,0\n\n1,x,0\n1,2\n,2,1\n1,nan,0\n1,\"2\n\",0\n1,1e39,1\n1,2,-1\n1,2,1\n");

  const auto message = refusal();

  EXPECT_THAT(message, HasSubstr("7 rows of '" + input() + "' cannot be used"));
  EXPECT_THAT(message, HasSubstr("\n  line 4, column 'b': 'x' is no number"));
  EXPECT_THAT(message, HasSubstr("\n  line 5: has 2 fields, not 3"));
  EXPECT_THAT(message, HasSubstr("\n  line 6, column 'a': is empty"));
  EXPECT_THAT(message, HasSubstr("\n  line 7, column 'b': is not finite"));
  EXPECT_THAT(message, HasSubstr("\n  line 8, column 'b': '2\\x0a' is no number"));
  EXPECT_THAT(message, HasSubstr("\n  line 10, column 'b': is too large for f32"));
  EXPECT_THAT(message, HasSubstr("\n  line 11, column 'label': -1 is negative"));
  EXPECT_THAT(message, HasSubstr("--skip-bad-rows"));
}

TEST_F(ImportCsv, ListsTheFirstTenOfManyBadRows) {
  std::string text = "a,label\n";
  for (int i = 0; i < 12; ++i) text += "1,1\n,0\n";
  write(text);

  const auto message = refusal();

  EXPECT_THAT(message, AllOf(HasSubstr("12 rows of"), HasSubstr("line 21, column 'a': is empty"),
                             Not(HasSubstr("line 23")), HasSubstr("\n  and 2 more")));
}

TEST_F(ImportCsv, LeavesBadRowsOutWhenAsked) {
  write("a,label\n1,red\nx,green\n3,blue\n4,red\n");

  const auto result = import({.bad_rows = BadInput::kSkip});

  EXPECT_EQ(result.rows, 3);
  EXPECT_THAT(x(), ElementsAre(1, 3, 4));
  EXPECT_THAT(classes(), ElementsAre(1, 0, 1));
  EXPECT_EQ(attribute("classes"), R"(["blue","red"])") << "green is in no row that is kept";
  EXPECT_EQ(attribute("skipped"), "1");
  EXPECT_THAT(result.notes,
              ElementsAre(AllOf(HasSubstr("1 row of"), HasSubstr("was left out\n  line 3, "))));
}

TEST_F(ImportCsv, MindsNoCellThatIsNotUsed) {
  write("a,comment,label\n1,,0\n2,text,1\n");

  import({.drop = { "comment" }});

  EXPECT_THAT(x(), ElementsAre(1, 2));
}

TEST_F(ImportCsv, RefusesFilesWithoutRows) {
  write("");
  EXPECT_THAT(refusal(), HasSubstr("is empty"));

  write("a,label\n");
  EXPECT_THAT(refusal(), HasSubstr("has no rows"));

  write("a,label\n,1\n");
  EXPECT_THAT(refusal({.table = {.bad_rows = BadInput::kSkip}}),
              AllOf(HasSubstr("has no row that can be used"), HasSubstr("line 2")));
}

TEST_F(ImportCsv, RefusesQuotesOutOfPlace) {
  write("a,label\n1,0\n5\" pipe,1\n");
  EXPECT_THAT(refusal(), HasSubstr("has a quote out of place in line 3"));

  write("a,label\n1,0\n\"2,1\n3,1\n");
  EXPECT_THAT(refusal(), HasSubstr("ends within quotes that open in the row of line 3"));
}

TEST_F(ImportCsv, RefusesTwoColumnsOfOneName) {
  write("a,a,label\n1,2,3\n");

  EXPECT_THAT(refusal(), HasSubstr("has two columns named 'a' (line 1"));
}

TEST_F(ImportCsv, RefusesUtf16) {
  write(
      std::string("\xFF\xFE"
                  "a\0,\0b\0",
                  8));

  EXPECT_THAT(refusal(), HasSubstr("is UTF-16"));
}

TEST_F(ImportCsv, RefusesDamagedGzip) {
  const std::string text = "a,label\n1,0\n2,1\n";
  const auto bytes = std::as_bytes(std::span(text));
  auto packed = tests::gzipped({bytes.begin(), bytes.end()});
  packed.resize(packed.size() - 5);
  tests::write_file(input(), packed);

  EXPECT_THAT(refusal(), HasSubstr("fetch it again"));
}

TEST_F(ImportCsv, NamesAFileThatIsMissing) {
  EXPECT_THAT(refusal(), HasSubstr("in.csv' cannot be opened"));
}

TEST_F(ImportCsv, RefusesToReplaceItsInput) {
  write("a,label\n1,0\n");

  EXPECT_THAT(message_of<base::ConfigError>([this] { import_csv(input(), {.path = input()}); }),
              HasSubstr("is one of the inputs"));
  EXPECT_EQ(tests::read_file(input()).size(), 12u);
}

TEST_F(ImportCsv, RefusesCompressionWithoutChunks) {
  write("a,label\n1,0\n");

  EXPECT_THAT(message_of<base::ConfigError>([this] { import(ImportCsvOptions{}, {.deflate = 3}); }),
              HasSubstr("--chunk-rows"));
}

TEST_F(ImportCsv, StopsWhenTheProgressFunctionThrows) {
  write("a,label\n1,0\n");
  const ImportOutput stopped{.path = output(), .progress = [](const ImportProgress&) {
                               throw base::Error(base::ExitCode::kInterrupted, "enough");
                             }};

  EXPECT_THROW(import_csv(input(), stopped), base::Error);

  EXPECT_THAT(std::vector(std::filesystem::directory_iterator(directory_.path()), {}),
              ::testing::SizeIs(1));
}

TEST_F(ImportCsv, ReadsRowsAcrossItsBuffers) {
  std::string text = "a,label\n";
  std::vector<float> wanted;
  for (int i = 0; i < 30'000; ++i) {
    text += std::to_string(i) + ",\"" + std::to_string(i % 7) + "\"\r\n";
    wanted.push_back(static_cast<float>(i));
  }
  write(text);

  import(ImportCsvOptions{}, {.chunk_rows = 1000, .deflate = 1});

  EXPECT_EQ(x(), wanted);
  EXPECT_EQ(classes()[29'999], 29'999 % 7);
}

std::string quoted_field(const std::string& text) {
  std::string field = "\"";
  for (const char c : text) field += c == '"' ? std::string("\"\"") : std::string(1, c);
  return field + "\"";
}

TEST_F(ImportCsv, KeepsEveryNumberAndEveryText) {
  std::mt19937_64 random(1);
  std::string text = "a,class\n";
  std::vector<float> numbers;
  std::vector<std::string> names;
  while (numbers.size() < 5000) {
    const auto number = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isfinite(number)) continue;
    numbers.push_back(number);
    // A letter in front makes it a text, whatever follows.
    names.emplace_back("n");
    for (auto length = random() % 4; length > 0; --length) {
      names.back() += "\",\r\n \tab\0\xFF"[random() % 10];
    }
    std::array<char, 64> digits{};
    std::snprintf(digits.data(), digits.size(), "%.9g", static_cast<double>(number));
    text += digits.data() + ("," + quoted_field(names.back())) + "\n";
  }
  write(text);

  import();

  EXPECT_EQ(x(), numbers);
  auto sorted = names;
  std::ranges::sort(sorted);
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  const auto read = classes();
  for (std::size_t i = 0; i < names.size(); ++i) {
    ASSERT_EQ(sorted[static_cast<std::size_t>(read[i])], names[i]) << "row " << i;
  }
}

}  // namespace
}  // namespace lockstep::data
