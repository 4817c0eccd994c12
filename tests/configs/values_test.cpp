#include "configs/values.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace lockstep::configs {
namespace {

std::int64_t integer(const std::string& text) {
  std::int64_t value = 0;
  EXPECT_EQ(parse_integer(text, value), NumberProblem::kNone) << text;
  return value;
}

NumberProblem integer_problem(const std::string& text) {
  std::int64_t value = 0;
  return parse_integer(text, value);
}

NumberProblem real_problem(const std::string& text) {
  double value = 0;
  return parse_real(text, value);
}

TEST(ParseInteger, ReadsTheFormsOfYaml12) {
  EXPECT_EQ(integer("42"), 42);
  EXPECT_EQ(integer("-7"), -7);
  EXPECT_EQ(integer("+7"), 7);
  EXPECT_EQ(integer("0x1f"), 31);
  EXPECT_EQ(integer("0o17"), 15);
  EXPECT_EQ(integer("010"), 10);
}

TEST(ParseInteger, TakesAFractionOnlyWhenItIsWhole) {
  EXPECT_EQ(integer("1e3"), 1000);
  EXPECT_EQ(integer("2.0"), 2);
  EXPECT_EQ(integer_problem("2.5"), NumberProblem::kNotWhole);
  EXPECT_EQ(integer_problem("1e-3"), NumberProblem::kNotWhole);
}

TEST(ParseInteger, RefusesWhatSixtyFourBitsCannotHold) {
  EXPECT_EQ(integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(integer_problem("9223372036854775808"), NumberProblem::kTooLarge);
  EXPECT_EQ(integer_problem("1e30"), NumberProblem::kTooLarge);
  EXPECT_EQ(integer_problem("9007199254740994.0"), NumberProblem::kTooLarge);
}

TEST(ParseInteger, RefusesWhatIsNoNumber) {
  for (const auto* text : {"", "x", "1_000", "1,000", "--1", "+-1", "-+1", "0x", "0x-5", "1 ", " 1",
                           "e", "e3", ".", "-", "+", "1e", "1.2.3", "true"}) {
    EXPECT_EQ(integer_problem(text), NumberProblem::kNotANumber) << text;
  }
}

TEST(ParseReal, RefusesWhatIsNotFinite) {
  for (const auto* text : {".inf", "-.inf", "+.INF", ".nan", ".NaN", "inf", "nan", "-Infinity"}) {
    EXPECT_EQ(real_problem(text), NumberProblem::kNotFinite) << text;
  }
  EXPECT_EQ(real_problem("1e999"), NumberProblem::kTooLarge);
}

TEST(ParseReal, RefusesWhatIsNoNumber) {
  for (const auto* text : {"", "x", "1e", "e1", ".", "+", "++1", "+-1", "0x1p3", "1,5", "1..5"}) {
    EXPECT_EQ(real_problem(text), NumberProblem::kNotANumber) << text;
  }
}

RC_GTEST_PROP(FormatReal, ReadsBackAsTheSameNumber, (double value)) {
  RC_PRE(std::isfinite(value));
  double back = 0;

  const auto problem = parse_real(format_real(value), back);

  RC_ASSERT(problem == NumberProblem::kNone);
  RC_ASSERT(back == value);
}

RC_GTEST_PROP(ParseInteger, ReadsBackEveryInteger, (std::int64_t value)) {
  RC_ASSERT(integer(std::to_string(value)) == value);
}

TEST(YamlText, QuotesWhatYamlWouldReadAsSomethingElse) {
  EXPECT_EQ(yaml_text("cnn"), "cnn");
  EXPECT_EQ(yaml_text("/data/a-b_c.h5"), "/data/a-b_c.h5");
  EXPECT_EQ(yaml_text(""), "\"\"");
  EXPECT_EQ(yaml_text("No"), "\"No\"");
  EXPECT_EQ(yaml_text("null"), "\"null\"");
  EXPECT_EQ(yaml_text("12"), "\"12\"");
  EXPECT_EQ(yaml_text("a: b"), "\"a: b\"");
  EXPECT_EQ(yaml_text("say \"\\\""), "\"say \\\"\\\\\\\"\"");
  EXPECT_EQ(yaml_text("${x}"), "\"$${x}\"");
}

TEST(InvalidText, FindsTheFirstByteThatIsNotUtf8) {
  EXPECT_FALSE(invalid_text("plain \u00e9 \u20ac \U0001f600"));
  EXPECT_EQ(invalid_text("ab\xff"), 2u);
  EXPECT_EQ(invalid_text(std::string("a\0b", 3)), 1u);
  EXPECT_EQ(invalid_text("\xc0\xaf"), 0u);          // overlong '/'
  EXPECT_EQ(invalid_text("\xed\xa0\x80"), 0u);      // a surrogate
  EXPECT_EQ(invalid_text("\xf4\x90\x80\x80"), 0u);  // beyond U+10FFFF
  EXPECT_EQ(invalid_text("x\xe2\x82"), 1u);         // cut short
}

}  // namespace
}  // namespace lockstep::configs
