// The `data` commands that look after datasets, run as a user runs them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/launcher/program.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

class DataCommands : public testing::Test {
 protected:
  DataCommands() { synthesize("s.h5", "1"); }

  void synthesize(const std::string& name, const std::string& seed) {
    const auto made = lockstep_.run({"data", "synth", "classification", "--rows", "200", "--shape",
                                     "2,3,3", "--classes", "4", "--seed", seed, "--output", name});
    EXPECT_EQ(made.exit_code, 0) << made.errors;
  }
  void flip(const std::string& name, std::size_t place) {
    auto bytes = lockstep_.read(name);
    bytes.at(place) = static_cast<char>(bytes.at(place) ^ 1);
    lockstep_.write(name, bytes);
  }
  bool exists(const std::string& name) const {
    return std::filesystem::exists(lockstep_.path(name));
  }

  Program lockstep_;
};

TEST_F(DataCommands, StatsShowsWhatToPasteIntoAConfiguration) {
  const auto answer = lockstep_.run({"data", "stats", "s.h5", "--per-class"});

  EXPECT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_THAT(answer.output, AllOf(HasSubstr("data: {mean: [0."), HasSubstr("], std: [0."),
                                   HasSubstr("# of x, divided by 255"), HasSubstr("quantiles")));
}

TEST_F(DataCommands, StatsKeepsResultsInTheUsersCacheAlone) {
  lockstep_.environment["XDG_CACHE_HOME"] = lockstep_.path("cache");
  const auto plain = lockstep_.run({"data", "stats", "s.h5", "--json", "--no-cache"});
  EXPECT_FALSE(exists("cache"));

  const auto first = lockstep_.run({"data", "stats", "s.h5", "--json", "--threads", "1"});
  const auto second = lockstep_.run({"data", "stats", "s.h5", "--json", "--threads", "3"});

  EXPECT_TRUE(exists("cache/lockstep"));
  EXPECT_EQ(first.output, second.output);
  EXPECT_EQ(json::parse(first.output)["columns"], json::parse(plain.output)["columns"]);
}

TEST_F(DataCommands, StatsAreTheSameBytesOnAnyThreadsAndRanks) {
  const auto answer = lockstep_.run({"data", "stats", "s.h5", "--json", "--no-cache"});
  for (const auto* threads : {"1", "2", "5"}) {
    for (const auto* rank : {"0", "2"}) {
      lockstep_.environment["OMPI_COMM_WORLD_SIZE"] = "3";
      lockstep_.environment["OMPI_COMM_WORLD_RANK"] = rank;
      const auto other =
          lockstep_.run({"data", "stats", "s.h5", "--json", "--no-cache", "--threads", threads});

      EXPECT_EQ(other.exit_code, 0) << other.errors;
      EXPECT_EQ(other.output, answer.output) << threads << " threads, rank " << rank;
    }
  }
}

TEST_F(DataCommands, NameAFolderThatDoesNotExistBeforeTheWork) {
  lockstep_.write("in.csv", "a,y\n1,0\n");
  const std::vector<std::vector<std::string>> commands{
      {"import", "csv", "in.csv", "--output", "no/f.h5"},
      {"import", "csv", "missing.csv", "--output", "no/f.h5"},
      {"repack", "s.h5", "--output", "no/f.h5"},
      {"split", "s.h5", "--parts", "a=0.5,b=0.5", "--output-prefix", "no/f"},
      {"synth", "classification", "--rows", "9", "--features", "2", "--output", "no/f.h5"}};
  for (auto words : commands) {
    words.insert(words.begin(), "data");

    const auto answer = lockstep_.run(words);

    EXPECT_EQ(answer.exit_code, 2) << words[1];
    EXPECT_THAT(answer.errors,
                AllOf(HasSubstr("there is no folder 'no'"), HasSubstr("make the folder")))
        << words[1];
  }
}

TEST_F(DataCommands, TellTheirDefaultsInTheHelp) {
  EXPECT_THAT(lockstep_.run({"data", "import", "text", "--help"}).output,
              HasSubstr("(default: \\n)"));
  EXPECT_THAT(lockstep_.run({"data", "split", "--help"}).output, HasSubstr("(default: 1)"));
}

TEST_F(DataCommands, StatsNamesTheNearestColumn) {
  const auto answer = lockstep_.run({"data", "stats", "s.h5", "--columns", "x,yy"});

  EXPECT_EQ(answer.exit_code, 3);
  EXPECT_THAT(answer.errors, HasSubstr("did you mean 'y'?"));
  EXPECT_EQ(lockstep_.run({"data", "stats", "s.h5", "--bins", "0"}).exit_code, 2);
  EXPECT_EQ(lockstep_.run({"data", "stats", "s.h5", "--threads", "0"}).exit_code, 2);
  EXPECT_EQ(lockstep_.run({"data", "stats", "none.h5"}).exit_code, 3);
}

TEST_F(DataCommands, VerifyEndsInThreeForADamagedFile) {
  EXPECT_EQ(lockstep_.run({"data", "verify", "s.h5"}).exit_code, 0);
  EXPECT_EQ(lockstep_.run({"data", "verify", "s.h5", "--write"}).exit_code, 0);
  EXPECT_THAT(lockstep_.run({"data", "verify", "s.h5"}).output,
              HasSubstr("every byte is as 's.h5.sums' says"));

  flip("s.h5", lockstep_.read("s.h5").size() - 1);
  const auto answer = lockstep_.run({"data", "verify", "s.h5"});

  EXPECT_EQ(answer.exit_code, 3);
  EXPECT_THAT(answer.output,
              AllOf(HasSubstr("differ from the manifest"), HasSubstr("dataset 'y', rows 0 to 199"),
                    HasSubstr("not verified")));
  const auto facts = json::parse(lockstep_.run({"data", "verify", "s.h5", "--json"}).output);
  EXPECT_EQ(facts["good"], false);
  EXPECT_EQ(lockstep_.run({"data", "verify", "s.h5", "--manifest", "none"}).exit_code, 3);

  // --write once replaced the manifest that knew of the damage.
  const auto manifest = lockstep_.read("s.h5.sums");
  EXPECT_EQ(lockstep_.run({"data", "verify", "s.h5", "--write"}).exit_code, 3);
  EXPECT_EQ(lockstep_.read("s.h5.sums"), manifest);
}

TEST_F(DataCommands, VerifyWritesNoManifestOfAFileThatCannotBeRead) {
  lockstep_.write("s.h5", lockstep_.read("s.h5").substr(0, 3000));

  EXPECT_EQ(lockstep_.run({"data", "verify", "s.h5", "--write"}).exit_code, 3);
  EXPECT_FALSE(exists("s.h5.sums"));
}

TEST_F(DataCommands, RepackKeepsTheValues) {
  const auto packed = lockstep_.run(
      {"data", "repack", "s.h5", "--chunk-rows", "30", "--deflate", "6", "--output", "p.h5"});
  EXPECT_EQ(packed.exit_code, 0) << packed.errors;
  EXPECT_THAT(packed.output, HasSubstr("whole file"));

  EXPECT_EQ(lockstep_.run({"data", "repack", "p.h5", "--output", "again.h5"}).exit_code, 0);

  const auto columns = [&](const std::string& name) {
    return json::parse(lockstep_.run({"data", "stats", name, "--json"}).output)["columns"];
  };
  EXPECT_EQ(columns("p.h5"), columns("s.h5"));
  EXPECT_EQ(columns("again.h5"), columns("s.h5"));
  const auto both = lockstep_.run(
      {"data", "repack", "s.h5", "--contiguous", "--deflate", "6", "--output", "q.h5"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_FALSE(exists("q.h5"));
  EXPECT_EQ(lockstep_.run({"data", "repack", "s.h5", "--output", "s.h5"}).exit_code, 2);
}

TEST_F(DataCommands, SplitWritesItsParts) {
  const auto answer = lockstep_.run(
      {"data", "split", "s.h5", "--parts", "train=0.8,val=0.1,test=0.1", "--stratify", "y"});

  EXPECT_EQ(answer.exit_code, 0) << answer.errors;
  EXPECT_THAT(answer.output, AllOf(HasSubstr("train   160  s-train.h5"), HasSubstr("s-test.h5")));
  EXPECT_TRUE(exists("s-val.h5"));
  EXPECT_EQ(lockstep_.run({"data", "split", "s.h5", "--parts", "a=0.5"}).exit_code, 2);
  EXPECT_EQ(lockstep_.run({"data", "split", "s.h5", "--parts", "a=1", "--stratify", "x"}).exit_code,
            3);
}

TEST_F(DataCommands, DiffEndsInSevenWhenDistributionsOrSchemasDiffer) {
  synthesize("t.h5", "2");
  EXPECT_EQ(lockstep_.run({"data", "diff", "s.h5", "s.h5"}).exit_code, 0);

  const auto drifted = lockstep_.run({"data", "diff", "s.h5", "t.h5", "--ks", "0"});
  EXPECT_EQ(drifted.exit_code, 7);
  EXPECT_THAT(drifted.output, AllOf(HasSubstr("drifted"), HasSubstr("failed")));
  EXPECT_EQ(lockstep_.run({"data", "diff", "s.h5", "t.h5", "--ks", "1", "--psi", "99"}).exit_code,
            0);

  ASSERT_EQ(lockstep_
                .run({"data", "synth", "regression", "--rows", "50", "--features", "3", "--output",
                      "r.h5"})
                .exit_code,
            0);
  const auto other = lockstep_.run({"data", "diff", "s.h5", "r.h5"});
  EXPECT_EQ(other.exit_code, 7);
  EXPECT_THAT(other.output, HasSubstr("other schema"));
  EXPECT_EQ(json::parse(lockstep_.run({"data", "diff", "s.h5", "r.h5", "--json"}).output)["good"],
            false);
  EXPECT_EQ(lockstep_.run({"data", "diff", "s.h5", "none.h5"}).exit_code, 3);
}

}  // namespace
}  // namespace lockstep::launcher
