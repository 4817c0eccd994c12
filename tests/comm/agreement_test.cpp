#include "comm/agreement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "base/environment.hpp"
#include "comm/serial_communicator.hpp"
#include "comm/thread_communicator.hpp"

namespace lockstep::comm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// The text that every rank gets when rank r holds values[r].
std::string disagreement(const std::vector<std::string>& values,
                         base::ExitCode code = base::ExitCode::kUsage) {
  std::vector<std::string> texts(values.size(), "agreed");
  run_on_threads(static_cast<int>(values.size()), [&](Communicator& group) {
    const auto rank = static_cast<std::size_t>(group.rank());
    try {
      require_agreement(group, "configuration", values[rank], code);
    } catch (const base::CommError& error) {
      EXPECT_EQ(error.code(), code);
      texts[rank] = error.what();
    }
  });
  for (const auto& text : texts) EXPECT_EQ(text, texts[0]);
  return texts[0];
}

TEST(RequireAgreement, IsSilentWhenAllRanksHoldTheSame) {
  EXPECT_EQ(disagreement({"abc", "abc", "abc"}), "agreed");
  EXPECT_EQ(disagreement({"", ""}), "agreed");
}

TEST(RequireAgreement, OfOneRankIsAlwaysReached) {
  SerialCommunicator group;

  EXPECT_NO_THROW(require_agreement(group, "configuration", "abc"));
}

TEST(RequireAgreement, NamesTheRankThatDiffersFromTheMajorityOnAllRanks) {
  EXPECT_EQ(disagreement({"abc", "abc", "xyz", "abc"}),
            "rank 2 (host " + base::host_name() +
                ") has another configuration: 'xyz' (most ranks have 'abc', and a run computes one "
                "thing); give all ranks the same configuration");
}

TEST(RequireAgreement, SidesWithTheLowestRankWhenThereIsNoMajority) {
  EXPECT_THAT(disagreement({"abc", "xyz"}), StartsWith("rank 1 "));
  EXPECT_THAT(disagreement({"xyz", "abc"}), StartsWith("rank 1 "));
}

TEST(RequireAgreement, CutsLongTextsAndLongLists) {
  const auto text = disagreement(
      {"a", "a", "a", "a", "a", "a", "a", std::string(500, 'b'), "c", "d", "e", "f", "g"});

  EXPECT_THAT(text, HasSubstr("'" + std::string(80, 'b') + "...'"));
  EXPECT_THAT(text, HasSubstr("rank 10 "));
  EXPECT_THAT(text, Not(HasSubstr("rank 11 ")));
  EXPECT_THAT(text, HasSubstr(" and 2 more ranks"));
}

TEST(RequireAgreement, CarriesTheExitCodeItIsGiven) {
  EXPECT_THAT(disagreement({"1", "2"}, base::ExitCode::kData), HasSubstr("another configuration"));
}

TEST(Together, ThrowsTheLowestFailedRanksErrorOnAllRanks) {
  run_on_threads(3, [](Communicator& group) {
    try {
      together(group, "saving", [&] {
        if (group.rank() > 0) {
          throw base::CheckpointError("byte " + std::to_string(group.rank()) + " is wrong");
        }
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const base::CheckpointError& error) {
      EXPECT_STREQ(error.what(), "rank 1: byte 1 is wrong");
      EXPECT_EQ(error.code(), base::ExitCode::kCheckpoint);
    }
    together(group, "the group is as good as before", [] {});
  });
}

TEST(OnFirstRank, GivesItsTextToAllAndRunsOnNoOther) {
  run_on_threads(3, [](Communicator& group) {
    const auto text = on_first_rank(group, "choosing", [&] {
      EXPECT_EQ(group.rank(), 0);
      return std::string("2 not an error");
    });

    EXPECT_EQ(text, "2 not an error");
  });
}

TEST(OnFirstRank, ThrowsItsErrorOnAllRanksWithItsCode) {
  run_on_threads(2, [](Communicator& group) {
    try {
      on_first_rank(group, "choosing",
                    []() -> std::string { throw base::ConfigError("name 'a' is taken"); });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const base::Error& error) {
      EXPECT_STREQ(error.what(), "name 'a' is taken");
      EXPECT_EQ(error.code(), base::ExitCode::kUsage);
    }
  });
}

}  // namespace
}  // namespace lockstep::comm
