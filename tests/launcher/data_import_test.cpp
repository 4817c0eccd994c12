#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/launcher/program.hpp"

namespace lockstep::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class DataImport : public testing::Test {
 protected:
  Program lockstep_;
};

TEST_F(DataImport, WithoutAFormatListsThem) {
  const auto answer = lockstep_.run({"data", "import"});

  EXPECT_EQ(answer.exit_code, 0);
  for (const char* format : {"csv", "idx", "images", "npy", "npz", "parquet", "text"}) {
    EXPECT_THAT(answer.output, HasSubstr(std::string("\n  data import ") + format)) << format;
  }
}

TEST_F(DataImport, ShowsWhatBecameOfEachColumn) {
  lockstep_.write("in.csv", "width,label\n1.5,red\n2,blue\n");

  const auto answer = lockstep_.run({"data", "import", "csv", "in.csv", "--output", "f.h5"});

  EXPECT_EQ(answer.exit_code, 0);
  EXPECT_EQ(answer.errors,
            "column  type   becomes\n"
            "width   float  x[0]\n"
            "label   text   y, 2 classes\n"
            "\n"
            "wrote f.h5: 2 rows, 24 B: x f32 [2, 1], y i64 [2]\n");
  EXPECT_THAT(lockstep_.run({"data", "inspect", "f.h5"}).output, HasSubstr("classification"));
}

TEST_F(DataImport, TakesTheWordsOfTables) {
  lockstep_.write("in.csv", "1;red;x;3\n2;blue;x;y\n3;red;x;5\n");

  const auto answer = lockstep_.run({"data",
                                     "import",
                                     "csv",
                                     "in.csv",
                                     "--header",
                                     "no",
                                     "--delimiter",
                                     ";",
                                     "--target",
                                     "4",
                                     "--features",
                                     "2,1",
                                     "--categories",
                                     "--regression",
                                     "--skip-bad-rows",
                                     "--chunk-rows",
                                     "1",
                                     "--deflate",
                                     "1",
                                     "--output",
                                     "f.h5"});

  EXPECT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_THAT(
      answer.errors,
      AllOf(HasSubstr("2       text     x[0], 1 category\n"),
            HasSubstr("3       text     left out\n"), HasSubstr("4       integer  y, values"),
            HasSubstr("note: 1 row of 'in.csv' was left out\n  line 2, column '4': 'y' is"),
            HasSubstr("wrote f.h5: 2 rows, 24 B: x f32 [2, 2], y f32 [2]\n")));
}

TEST_F(DataImport, EndsInADataErrorThatListsBadRows) {
  lockstep_.write("in.csv", "a,label\n1,0\nx,1\n3,1\n");

  const auto answer = lockstep_.run({"data", "import", "csv", "in.csv", "--output", "f.h5"});

  EXPECT_EQ(answer.exit_code, 3);
  EXPECT_THAT(answer.errors, AllOf(StartsWith("error: 1 row of 'in.csv' cannot be used"),
                                   HasSubstr("\n  line 3, column 'a': 'x' is no number")));
  EXPECT_FALSE(std::filesystem::exists(lockstep_.path("f.h5")));
}

TEST_F(DataImport, RefusesWordsThatMeanNothing) {
  lockstep_.write("in.csv", "a,label\n1,0\n");

  for (const auto& words : std::vector<std::vector<std::string>>{
           {"--header", "maybe"}, {"--delimiter", "::"}, {"--deflate", "3"}, {"--target", "c"}}) {
    std::vector<std::string> all{"data", "import", "csv", "in.csv", "--output", "f.h5"};
    all.insert(all.end(), words.begin(), words.end());
    EXPECT_EQ(lockstep_.run(all).exit_code, 2) << words[0];
  }
}

TEST_F(DataImport, UnderstandsEscapesInASeparator) {
  lockstep_.write("a.txt", "a");
  lockstep_.write("b.txt", "b");

  const auto answer = lockstep_.run(
      {"data", "import", "text", "a.txt", "b.txt", "--separator", "\\n\\\\", "--output", "f.h5"});

  EXPECT_EQ(answer.errors, "wrote f.h5: 4 rows, 4 B: tokens u8 [4]\n");
  EXPECT_EQ(
      lockstep_.run({"data", "import", "text", "a.txt", "--separator", "\\x", "--output", "f"})
          .exit_code,
      2);
}

TEST_F(DataImport, RefusesASizeItCannotRead) {
  for (const char* size : {"32", "32x", "x32", "32x32x3", "0x5"}) {
    EXPECT_EQ(lockstep_.run({"data", "import", "images", ".", "--size", size, "--output", "f.h5"})
                  .exit_code,
              2)
        << size;
  }
}

}  // namespace
}  // namespace lockstep::launcher
