#include "data/import/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "data/import/utf8.hpp"
#include "data/source.hpp"
#include "imported.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tests::message_of;

class ImportText : public ::testing::Test {
 protected:
  ImportResult import(const std::vector<std::string>& texts, const ImportTextOptions& options = {},
                      const ColumnLayout& layout = {}) {
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      paths.push_back(directory_.file(std::to_string(i) + ".txt"));
      tests::write_text(paths.back(), texts[i]);
    }
    return import_text(paths, {.path = output(), .layout = layout}, options);
  }
  std::string refusal(const std::string& text) {
    auto message = message_of<base::DataError>([&] { import({text}); });
    EXPECT_FALSE(std::filesystem::exists(output())) << "something was left behind";
    return message;
  }
  std::string output() const { return directory_.file("out.h5"); }
  std::string tokens() const {
    const auto bytes = tests::column_of<std::uint8_t>(output(), "tokens");
    return {bytes.begin(), bytes.end()};
  }

  tests::TemporaryDirectory directory_;
};

TEST_F(ImportText, JoinsFilesWithANewline) {
  const auto result = import({"one", "zw\xC3\xB6lf", ""});

  EXPECT_EQ(tokens(), "one\nzw\xC3\xB6lf\n");
  EXPECT_EQ(result.rows, 11);
  EXPECT_EQ(tests::attribute_of(output(), "tokenizer"), "bytes");
  EXPECT_EQ(tests::attribute_of(output(), "source"),
            R"({"format":"text","files":["0.txt","1.txt","2.txt"]})");
}

TEST_F(ImportText, MakesAFileThatTrainingReads) {
  import({"to be or not to be"});

  SourceOptions options;
  options.paths = {output()};
  options.context = 4;
  EXPECT_EQ(SampleSource(options).info().kind, TaskKind::kTokens);
}

TEST_F(ImportText, TakesTheSeparatorAsGiven) {
  import({"a", "b"}, {.separator = ""});
  EXPECT_EQ(tokens(), "ab");

  import({"a", "b"}, {.separator = std::string("\0--", 3)});
  EXPECT_EQ(tokens(), std::string("a\0--b", 5));
}

TEST_F(ImportText, ReadsFilesAcrossItsBlocks) {
  std::string text;
  while (text.size() < 300'000) text += "line " + std::to_string(text.size()) + " \xE2\x82\xAC\n";

  import({text, text}, {}, {.chunk_rows = 1001, .deflate = 1});

  EXPECT_EQ(tokens(), text + "\n" + text);
}

TEST_F(ImportText, SaysWhereAFileIsNotUtf8) {
  EXPECT_THAT(refusal("good\nba\xFF"
                      "d"),
              AllOf(HasSubstr("0.txt' is not UTF-8 in line 2, byte 7"), HasSubstr("--bytes")));
  EXPECT_THAT(refusal("\xE2\x82"), HasSubstr("line 1, byte 2 (it ends within a character)"));
}

TEST_F(ImportText, TakesAnyBytesWhenAsked) {
  import({"\xFF\xFE"}, {.encoding = TextEncoding::kAny});

  EXPECT_EQ(tokens(), "\xFF\xFE");
}

TEST_F(ImportText, RefusesNoText) {
  EXPECT_THAT(refusal(""), HasSubstr("there is no text in"));
  EXPECT_THAT(message_of<base::DataError>([&] { import_text({}, {.path = output()}); }),
              HasSubstr("there is no text in the files"));
}

/// Feeds a text in pieces of one size.
bool is_utf8(const std::string& text, std::size_t piece = 1000) {
  detail::Utf8Check check;
  const auto bytes = std::as_bytes(std::span(text));
  for (std::size_t i = 0; i < bytes.size(); i += piece) {
    if (check.feed(bytes.subspan(i, std::min(piece, bytes.size() - i)))) return false;
  }
  return check.complete();
}

std::string encoded(std::uint32_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8Check, TakesEveryCharacterAndNoSurrogate) {
  for (std::uint32_t code = 0; code < 0x110100; ++code) {
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    ASSERT_EQ(is_utf8(encoded(code), 1), !surrogate && code <= 0x10FFFF) << code;
  }
}

TEST(Utf8Check, RefusesOverlongAndLoneBytes) {
  for (const char* text : {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\x80",
                           "\xBF", "\xC3(", "\xE2\x82(", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

RC_GTEST_PROP(Utf8Check, MindsNotHowTheBytesAreCut, (const std::string& text)) {
  const auto piece = *rc::gen::inRange<std::size_t>(1, 5);
  RC_ASSERT(is_utf8(text, piece) == is_utf8(text));
}

}  // namespace
}  // namespace lockstep::data
