// Lines that are written as text must read back as what was added.

#include "checkpoints/json_lines.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace lockstep::checkpoints {
namespace {

RC_GTEST_PROP(JsonLine, ReadsBackAsWhatWasAdded, (double number, std::int64_t integer)) {
  // Any bytes: what is no UTF-8 is replaced, as in every other line.
  const auto text = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  const auto line =
      JsonLine().add("number", number).add("integer", integer).add(text, text).finish();

  const auto read = nlohmann::json::parse(line);

  RC_ASSERT(read.at(text) == text);
  if (text != "number") RC_ASSERT(read.at("number").get<double>() == number);
  if (text != "integer") RC_ASSERT(read.at("integer").get<std::int64_t>() == integer);
}

TEST(JsonLine, WritesNullForWhatIsNoNumber) {
  const auto line =
      JsonLine().add("a", std::nan("")).add("b", std::numeric_limits<double>::infinity()).finish();
  EXPECT_EQ(line, R"({"a":null,"b":null})");
}

TEST(JsonLine, EscapesWhatAStringCannotHold) {
  EXPECT_EQ(JsonLine().add("a\"b", "c\\d\n").finish(), R"({"a\"b":"c\\d\n"})");
  EXPECT_EQ(JsonLine().add("a", "\xff").finish(), "{\"a\":\"\xef\xbf\xbd\"}");
  EXPECT_EQ(JsonLine().finish(), "{}");
}

}  // namespace
}  // namespace lockstep::checkpoints
