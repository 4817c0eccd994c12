#include "launcher/step_range.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

TEST(StepRange, IsReadAsPeopleWriteIt) {
  for (const char* text : {"steps=20:25", "20:25"}) {
    EXPECT_EQ(parse_steps(text).first, 20);
    EXPECT_EQ(parse_steps(text).last, 25);
  }
  EXPECT_EQ(parse_steps("7").first, 7);
  EXPECT_EQ(parse_steps("7").last, 7);
}

TEST(StepRange, OfAnythingElseIsRefusedWithAnExample) {
  for (const char* text : {"", "steps=", "a:b", "1:", ":2", "0:2", "-1:2", "3:1", "1:2:3", "1 :2",
                           "99999999999999999999"}) {
    try {
      parse_steps(text);
      FAIL() << text;
    } catch (const base::ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("steps=20:25")) << text;
    }
  }
}

}  // namespace
}  // namespace lockstep::launcher
