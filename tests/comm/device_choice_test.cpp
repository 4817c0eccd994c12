#include "comm/device_choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"

namespace lockstep::comm {
namespace {

using Seen = std::vector<std::vector<std::string>>;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::size_t> choose(const Seen& seen, DeviceSharing sharing = DeviceSharing::kRefused) {
  return choose_devices(seen, "h1", sharing);
}

std::string complaint(const Seen& seen) {
  try {
    choose(seen);
  } catch (const base::DeviceError& error) {
    return error.what();
  }
  return "none";
}

TEST(DeviceChoice, GivesEachRankTheOneThatItSees) {
  EXPECT_THAT(choose({{"GPU-b"}, {"GPU-a"}, {"GPU-c"}}), ElementsAre(0, 0, 0));
  EXPECT_THAT(choose({{"MIG-2"}, {"MIG-1"}}), ElementsAre(0, 0));
}

TEST(DeviceChoice, GoesByUuidWhereAllSeeAll) {
  const std::vector<std::string> all{"GPU-c", "GPU-a", "GPU-b"};
  EXPECT_THAT(choose({all, all, all}), ElementsAre(1, 2, 0));
  EXPECT_THAT(choose({all}), ElementsAre(1));
  EXPECT_THAT(choose({{"GPU-a", "GPU-b"}, {"GPU-b", "GPU-a"}}), ElementsAre(0, 0));
}

TEST(DeviceChoice, MovesARankThatHasAChoiceForOneThatHasNone) {
  EXPECT_THAT(choose({{"GPU-a", "GPU-b"}, {"GPU-a"}}), ElementsAre(1, 0));
  EXPECT_THAT(choose({{"GPU-a", "GPU-b"}, {"GPU-b", "GPU-c"}, {"GPU-a"}, {"GPU-b", "GPU-d"}}),
              ElementsAre(1, 1, 0, 1));
}

TEST(DeviceChoice, RefusesToShareUnlessAsked) {
  EXPECT_THAT(complaint({{"GPU-a"}, {"GPU-a"}}),
              AllOf(HasSubstr("rank 1 of host 'h1' has no device of its own"), HasSubstr("'GPU-a'"),
                    HasSubstr("compute.share_devices")));
  EXPECT_THAT(complaint({{"MIG-1"}, {"MIG-1"}}), HasSubstr("CUDA_VISIBLE_DEVICES for each rank"));
  EXPECT_THAT(complaint({{"GPU-a"}, {}}), HasSubstr("rank 1 of host 'h1' sees no device"));
  const std::vector<std::string> two{"GPU-a", "GPU-b"};
  EXPECT_THAT(choose({two, two, two, two, two}, DeviceSharing::kAllowed),
              ElementsAre(0, 1, 0, 1, 0));
}

/// Whether each rank can have a device of its own, by trying everything.
bool possible(const Seen& seen, std::size_t rank, std::set<std::string>& taken) {
  if (rank == seen.size()) return true;
  return std::ranges::any_of(seen[rank], [&](const std::string& uuid) {
    if (!taken.insert(uuid).second) return false;
    const bool found = possible(seen, rank + 1, taken);
    taken.erase(uuid);
    return found;
  });
}

RC_GTEST_PROP(DeviceChoice, SharesNoDeviceWheneverThatIsPossible, ()) {
  const auto ranks = *rc::gen::inRange<std::size_t>(1, 6);
  Seen seen;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const auto devices = *rc::gen::unique<std::vector<int>>(*rc::gen::inRange<std::size_t>(1, 5),
                                                            rc::gen::inRange(0, 6));
    seen.emplace_back();
    for (const int device : devices) seen.back().push_back("GPU-" + std::to_string(device));
  }
  std::set<std::string> none;
  if (!possible(seen, 0, none)) {
    RC_ASSERT_THROWS_AS(choose(seen), base::DeviceError);
    return;
  }
  const auto chosen = choose(seen);
  std::set<std::string> used;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    RC_ASSERT(used.insert(seen[rank].at(chosen[rank])).second);
  }
}

}  // namespace
}  // namespace lockstep::comm
