#include "configs/document.hpp"

#include <gtest/gtest.h>

#include "configs/problems.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

std::shared_ptr<const Source> source(const std::string& text) {
  return std::make_shared<const Source>(Source{Source::Kind::kFile, "exp.yaml", text});
}

Node parse(const std::string& text) {
  Problems problems;
  auto node = parse_document(source(text), 0, problems);
  problems.throw_if_any();
  return std::move(node.value());
}

/// The one problem with `text`: `message @ line:column`.
std::string problem(const std::string& text) {
  Problems problems;
  parse_document(source(text), 0, problems);
  try {
    problems.throw_if_any();
  } catch (const ConfigErrors& errors) {
    const auto& first = errors.diagnostics.front();
    EXPECT_EQ(errors.diagnostics.size(), 1u) << errors.what();
    return first.message + " @ " + std::to_string(first.line) + ":" + std::to_string(first.column);
  }
  return "none";
}

TEST(ParseDocument, KnowsThePlaceOfEachKeyAndValue) {
  const auto root = parse("a:\n  \u00e9t\u00e9: [1, 'two']\n");

  const auto& entry = root.entries[0].value.entries[0];
  EXPECT_EQ(entry.key, "\u00e9t\u00e9");
  EXPECT_EQ(entry.key_place.line, 2);
  EXPECT_EQ(entry.key_place.column, 3);
  EXPECT_EQ(entry.key_place.length, 3);
  EXPECT_EQ(entry.value.items[0].place.column, 9);
  EXPECT_TRUE(entry.value.items[0].plain);
  EXPECT_EQ(entry.value.items[1].place.column, 12);
  EXPECT_EQ(entry.value.items[1].place.length, 5);
  EXPECT_FALSE(entry.value.items[1].plain);
}

TEST(ParseDocument, ReadsAnEmptyTextAsNull) {
  EXPECT_TRUE(parse("").is_null());
  EXPECT_TRUE(parse("# nothing here\n").is_null());
}

TEST(ParseDocument, PutsAnAliasesValueInItsPlace) {
  const auto root = parse("a: &x {b: 1}\nc: *x\n");

  EXPECT_EQ(root.find("c")->value.find("b")->value.text, "1");
}

TEST(ParseDocument, MergesWithoutReplacingWhatTheMappingHasItself) {
  const auto root = parse(
      "base: &base {lr: 1, name: sgd}\n"
      "more: &more {lr: 2, eps: 3}\n"
      "it: {<<: [*base, *more], name: adam}\n");

  const auto& it = root.find("it")->value;
  EXPECT_EQ(it.find("name")->value.text, "adam");
  EXPECT_EQ(it.find("lr")->value.text, "1");
  EXPECT_EQ(it.find("eps")->value.text, "3");
  EXPECT_EQ(it.entries.size(), 3u);
}

TEST(ParseDocument, RefusesAMergeOfWhatIsNoMapping) {
  EXPECT_EQ(problem("a: {<<: 3}\n"), "the merge key '<<' has a value that is no mapping @ 1:9");
}

TEST(ParseDocument, RefusesAKeyThatIsGivenTwice) {
  EXPECT_EQ(problem("a: 1\nb: 2\na: 3\n"), "key 'a' is given twice (first at line 1) @ 3:1");
}

TEST(ParseDocument, RefusesTagsAliasesWithoutAnchorsListKeysAndSecondDocuments) {
  EXPECT_EQ(problem("a: !!str 3\n"), "a tag is used (a value's type is given by its knob) @ 1:10");
  EXPECT_EQ(problem("a: *b\n"), "alias '*b' names no anchor before it @ 1:5");
  EXPECT_EQ(problem("[a]: 1\n"), "a key is a list or a mapping (keys are words) @ 1:1");
  EXPECT_EQ(problem("a: 1\n---\nb: 1\n"),
            "a second document starts here (a configuration is one document) @ 2:1");
}

TEST(ParseDocument, RefusesAnAliasOfItself) {
  EXPECT_EQ(problem("a: &a [*a]\n"), "alias '*a' names no anchor before it @ 1:9");
}

TEST(ParseDocument, PassesOnTheParsersReasonAndPlace) {
  EXPECT_EQ(problem("a: {b: 1\nc: 2\n"),
            "this is not valid YAML (missing comma in flow mapping) @ 2:2");
}

TEST(ParseDocument, RefusesBytesThatAreNoText) {
  EXPECT_EQ(problem("a: 1\nb: \xff\n"),
            "a character is not UTF-8 text (a configuration is a text file) @ 2:1");
}

// libfyaml 0.7.12 took 0.4 s for 8,000 signs, and hours for a file of the largest size.
TEST(ParseDocument, RefusesDirectives) {
  EXPECT_EQ(problem("a: 1\n%YAML 1.1\n"),
            "a line starts with '%' (a configuration has no YAML directives) @ 2:1");
  EXPECT_NE(problem(std::string(100'000, '%')), "none");
  EXPECT_NE(problem("\xef\xbb\xbf%%\n"), "none");
  EXPECT_EQ(problem("a: 5%\n"), "none");
}

// A fuzzer found that libfyaml 0.7.12 frees an indent twice for an explicit key whose ':' is
// followed by a tab and another sign. Either of the two alone is harmless.
TEST(ParseDocument, RefusesTheTabsThatBreakTheParser) {
  for (const auto* text : {"? b:\t|", "? b:\t?", "? ::\t-", "? -: \t|", "?\tb:\t:"}) {
    EXPECT_EQ(problem(text),
              "a tab stands in a text with a lone '?' (together they break the YAML parser) @ 1:1");
  }
  EXPECT_EQ(problem("a:\tb?c\n"), "none");
  EXPECT_EQ(problem("? a\n: b\n"), "none");
}

TEST(ParseDocument, RefusesDeepNesting) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };

  EXPECT_EQ(problem(nested(kMostNesting)), "none");
  EXPECT_NE(problem(nested(kMostNesting + 1)), "none");
  EXPECT_NE(problem(nested(100'000)), "none");
}

TEST(ParseDocument, CountsNestingThroughAliases) {
  const std::string forty(40, '[');
  const std::string closed(40, ']');

  EXPECT_EQ(problem("a: &a " + forty + closed + "\nb: " + forty + "*a" + closed + "\n"),
            "the document is nested deeper than 64 levels @ 2:45");
}

TEST(ParseDocument, RefusesAliasesThatMultiply) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const auto one = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + one;
    for (int k = 1; k < 10; ++k) text += ", " + one;
    text += "]\n";
  }

  EXPECT_EQ(problem(text).substr(0, 42), "the document holds more than 20,000 values");
}

TEST(ParseDocument, RefusesATextOfMoreThanAMebibyte) {
  EXPECT_EQ(problem(std::string(kMostFileBytes + 1, '#')),
            "'exp.yaml' is larger than 1 MiB (no configuration is) @ 0:0");
}

TEST(LineOf, FindsALineWithoutItsEnd) {
  const Source text{Source::Kind::kFile, "f", "one\r\ntwo\nthree"};

  EXPECT_EQ(line_of(text, 1), "one");
  EXPECT_EQ(line_of(text, 3), "three");
  EXPECT_EQ(line_of(text, 4), "");
}

TEST(Shown, ShortensALongTextBetweenCharacters) {
  EXPECT_EQ(shown("abc"), "'abc'");
  EXPECT_EQ(shown(std::string(79, 'a') + "\u00e9\u00e9"), "'" + std::string(79, 'a') + "...'");
}

}  // namespace
}  // namespace lockstep::configs
