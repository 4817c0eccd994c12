#include "base/text.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

namespace lockstep::base {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::optional<std::string> nearest(std::string_view word, std::vector<std::string> candidates) {
  return nearest_name(word, candidates);
}

TEST(NearestName, FindsALetterTooManyTooFewWrongOrSwapped) {
  EXPECT_EQ(nearest("epochss", {"epochs", "steps"}), "epochs");
  EXPECT_EQ(nearest("epoch", {"epochs", "steps"}), "epochs");
  EXPECT_EQ(nearest("epocks", {"epochs", "steps"}), "epochs");
  EXPECT_EQ(nearest("epcohs", {"epochs", "steps"}), "epochs");
}

TEST(NearestName, TakesTheCloserOfTwo) {
  EXPECT_EQ(nearest("betaz", {"beta", "betas", "zeta"}), "beta");
  EXPECT_EQ(nearest("sead", {"read", "seed", "sead"}), "sead");
}

TEST(NearestName, AllowsOneChangeInAShortWord) {
  EXPECT_EQ(nearest("lt", {"lr"}), "lr");
  EXPECT_FALSE(nearest("xy", {"lr"}).has_value());
}

TEST(NearestName, SaysNothingWhenNothingIsClose) {
  EXPECT_FALSE(nearest("banana", {"epochs", "steps"}).has_value());
  EXPECT_FALSE(nearest("epochs", {}).has_value());
}

RC_GTEST_PROP(NearestName, FindsTheWordItself,
              (std::string word, std::vector<std::string> others)) {
  others.push_back(word);
  RC_ASSERT(nearest_name(word, others) == word);
}

TEST(FormatDuration, ChoosesTheUnitThatSaysSomething) {
  EXPECT_EQ(format_duration(nanoseconds(0)), "0ns");
  EXPECT_EQ(format_duration(nanoseconds(999)), "999ns");
  EXPECT_EQ(format_duration(microseconds(4)), "4.0us");
  EXPECT_EQ(format_duration(microseconds(250)), "250us");
  EXPECT_EQ(format_duration(milliseconds(850)), "850ms");
  EXPECT_EQ(format_duration(milliseconds(4200)), "4.2s");
  EXPECT_EQ(format_duration(seconds(72)), "1m12s");
  EXPECT_EQ(format_duration(hours(3) + minutes(5)), "3h05m");
  EXPECT_EQ(format_duration(hours(52)), "2d04h");
}

TEST(FormatDuration, CarriesARoundedValueIntoTheNextUnit) {
  // 999.9 us read "1000us".
  EXPECT_EQ(format_duration(nanoseconds(999'900)), "1.0ms");
  EXPECT_EQ(format_duration(microseconds(999'900)), "1.0s");
  EXPECT_EQ(format_duration(milliseconds(59'990)), "1m00s");
  EXPECT_EQ(format_duration(milliseconds(119'900)), "2m00s");
  EXPECT_EQ(format_duration(milliseconds(3'599'900)), "1h00m");
  EXPECT_EQ(format_duration(milliseconds(86'399'900)), "1d00h");
}

TEST(FormatDuration, PutsASignBeforeANegativeOne) {
  EXPECT_EQ(format_duration(-seconds(72)), "-1m12s");
}

TEST(FormatDuration, KnowsTheLongestTimes) {
  EXPECT_EQ(format_duration(nanoseconds::max()), "106751d23h");
  EXPECT_EQ(format_duration(nanoseconds::min()), "-106751d23h");
}

TEST(FormatBytes, UsesBinaryUnitsWithADecimalWhereItSaysSomething) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1 KiB");
  EXPECT_EQ(format_bytes(64 * 1024), "64 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(3ULL << 29), "1.5 GiB");
  EXPECT_EQ(format_bytes(std::numeric_limits<std::uint64_t>::max()), "16 EiB");
}

TEST(FormatBytes, CarriesARoundedValueIntoTheNextUnit) {
  EXPECT_EQ(format_bytes(1024 * 1024 - 1), "1.0 MiB");
}

TEST(FormatCount, PutsACommaBetweenThousands) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(1'234'567), "1,234,567");
}

TEST(FormatRate, UsesOneDecimalBelowTen) {
  EXPECT_EQ(format_rate(0), "0.0");
  EXPECT_EQ(format_rate(8.42), "8.4");
  EXPECT_EQ(format_rate(950), "950");
  EXPECT_EQ(format_rate(8'400), "8.4k");
  EXPECT_EQ(format_rate(12'345), "12k");
  EXPECT_EQ(format_rate(1.2e6), "1.2M");
  EXPECT_EQ(format_rate(999'900), "1.0M");
}

TEST(Quote, PutsApostrophesAndEscapesControlCharacters) {
  EXPECT_EQ(quote("a b"), "'a b'");
  EXPECT_EQ(quote(""), "''");
  EXPECT_EQ(quote("a\nb\x7f"), "'a\\x0ab\\x7f'");
  EXPECT_EQ(quote(std::string_view("\0", 1)), "'\\x00'");
  EXPECT_EQ(quote("gr\xc3\xbc\xc3\x9f"), "'gr\xc3\xbc\xc3\x9f'");
}

RC_GTEST_PROP(Quote, NeverLetsAControlCharacterThrough, (const std::string& text)) {
  for (const char character : quote(text)) {
    RC_ASSERT(static_cast<unsigned char>(character) >= 0x20);
    RC_ASSERT(character != 0x7f);
  }
}

TEST(Joined, PutsTheSeparatorBetweenParts) {
  EXPECT_EQ(joined(std::vector<std::string>{}), "");
  EXPECT_EQ(joined(std::vector<std::string>{"a"}), "a");
  EXPECT_EQ(joined(std::vector<std::string>{"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(joined(std::vector<std::string>{"a", "b"}, "/"), "a/b");
}

TEST(Split, CutsAtEachSeparator) {
  EXPECT_EQ(split("a:4", ':'), (std::vector<std::string>{"a", "4"}));
  EXPECT_EQ(split("a", ','), (std::vector<std::string>{"a"}));
  EXPECT_EQ(split(",a,", ','), (std::vector<std::string>{"", "a", ""}));
  EXPECT_TRUE(split("", ',').empty());
}

RC_GTEST_PROP(Split, IsUndoneByJoined, (const std::string& text)) {
  RC_ASSERT(joined(split(text, ','), ",") == text);
}

TEST(RankList, CutsLongLists) {
  const std::vector<int> many{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

  EXPECT_EQ(rank_list(std::span(many).subspan(3, 1)), "rank 3");
  EXPECT_EQ(rank_list(std::span(many).first(2)), "ranks 0, 1");
  EXPECT_EQ(rank_list(many), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

}  // namespace
}  // namespace lockstep::base
