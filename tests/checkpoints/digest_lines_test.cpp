#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "checkpoints/extent_writer.hpp"

namespace lockstep::checkpoints {
namespace {

using testing::ElementsAre;

const std::string kOne(64, 'a');
const std::string kOther(64, '7');

TEST(DigestLines, ReadBackIntoTheirPlaces) {
  std::vector<std::string> digests(4);

  EXPECT_TRUE(
      read_digest_lines(digest_lines(std::vector<ExtentDigest>{{3, kOne}, {0, kOther}}), digests));
  EXPECT_TRUE(read_digest_lines("", digests));
  EXPECT_THAT(digests, ElementsAre(kOther, "", "", kOne));
}

TEST(DigestLines, AreRefusedWhenTheyAreNone) {
  for (const auto& lines :
       {"4 " + kOne + "\n", "-1 " + kOne + "\n", "x " + kOne + "\n", "1 " + kOne,
        "1  " + kOne + "\n", "1 " + kOne.substr(1) + "\n", "1 " + kOne + "a\n",
        "1 " + kOne.substr(1) + "g\n", "1 " + kOne + "\n1 " + kOne + "\n", std::string("\n"),
        "99999999999999999999999 " + kOne + "\n", std::string("1"), std::string("1 ")}) {
    std::vector<std::string> digests(4);
    EXPECT_FALSE(read_digest_lines(lines, digests)) << lines;
  }
}

RC_GTEST_PROP(DigestLines, OfAnyBytesAreReadOrRefused, (const std::string& noise)) {
  std::vector<std::string> digests(3);
  auto lines = digest_lines(std::vector<ExtentDigest>{{0, kOne}, {2, kOther}});
  const auto at = *rc::gen::inRange<std::size_t>(0, lines.size());
  lines.replace(at, std::min(noise.size(), lines.size() - at), noise);
  if (read_digest_lines(lines, digests)) {
    for (const auto& digest : digests) RC_ASSERT(digest.empty() || digest.size() == 64);
  }
}

}  // namespace
}  // namespace lockstep::checkpoints
