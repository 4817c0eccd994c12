#include "base/narrow.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdint>
#include <limits>

namespace lockstep::base {
namespace {

static_assert(narrow<int>(std::int64_t{41}) == 41, "usable in constant expressions");

TEST(Narrow, KeepsTheEndsOfTheNarrowerType) {
  EXPECT_EQ(narrow<int>(std::int64_t{2'147'483'647}), 2'147'483'647);
  EXPECT_EQ(narrow<int>(std::int64_t{-2'147'483'648}), std::numeric_limits<int>::min());
}

TEST(Narrow, RefusesOneBeyondTheEnds) {
  EXPECT_THROW(narrow<int>(std::int64_t{2'147'483'648}), InternalError);
  EXPECT_THROW(narrow<int>(std::int64_t{-2'147'483'649}), InternalError);
}

TEST(Narrow, RefusesANegativeNumberForAnUnsignedType) {
  EXPECT_THROW(narrow<std::size_t>(-1), InternalError);
}

TEST(Narrow, RefusesALargeUnsignedNumberForASignedTypeOfTheSameWidth) {
  EXPECT_THROW(narrow<std::int64_t>(std::numeric_limits<std::uint64_t>::max()), InternalError);
}

TEST(Narrow, SaysWhichNumberDidNotFit) {
  try {
    narrow<int>(std::int64_t{3'000'000'000});
    FAIL() << "not refused";
  } catch (const InternalError& error) {
    EXPECT_STREQ(error.what(),
                 "number 3000000000 does not fit the narrower type it is passed as (4 bytes); "
                 "report this bug");
  }
}

RC_GTEST_PROP(Narrow, KeepsANumberOrRefusesIt, (std::int64_t value)) {
  const bool fits = value >= -32'768 && value <= 32'767;
  try {
    RC_ASSERT(narrow<std::int16_t>(value) == value);
    RC_ASSERT(fits);
  } catch (const InternalError&) {
    RC_ASSERT(!fits);
  }
}

}  // namespace
}  // namespace lockstep::base
