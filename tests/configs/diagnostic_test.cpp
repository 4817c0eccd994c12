#include "configs/diagnostic.hpp"

#include <gtest/gtest.h>

#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

TEST(Render, ShowsTheLineWithACaretAndTheAdvice) {
  const std::vector<Diagnostic> diagnostics{{.message = "unknown key 'epoch' in 'train'",
                                             .file = "exp.yaml",
                                             .line = 12,
                                             .column = 3,
                                             .length = 5,
                                             .source_line = "  epoch: 3",
                                             .note = "did you mean 'epochs'?"}};

  EXPECT_EQ(render(diagnostics, false),
            "error: unknown key 'epoch' in 'train'\n"
            "   --> exp.yaml:12:3\n"
            "    |\n"
            " 12 |   epoch: 3\n"
            "    |   ^^^^^ did you mean 'epochs'?\n");
}

TEST(Render, ShowsTheFileAloneWhenThereIsNoLine) {
  const std::vector<Diagnostic> diagnostics{
      {.message = "data.train is required", .file = "exp.yaml", .note = "add it"}};

  EXPECT_EQ(render(diagnostics, false),
            "error: data.train is required\n"
            "  --> exp.yaml\n"
            "  = add it\n");
}

TEST(Render, KeepsACaretUnderACharacterOfSeveralBytesAndAfterATab) {
  const std::vector<Diagnostic> diagnostics{{.message = "m",
                                             .file = "f",
                                             .line = 1,
                                             .column = 4,
                                             .length = 2,
                                             .source_line = "\t\u00e9\u00e9xy"}};

  EXPECT_EQ(render(diagnostics, false),
            "error: m\n  --> f:1:4\n   |\n 1 | \t\u00e9\u00e9xy\n   | \t  ^^\n");
}

TEST(Render, NeverSendsAFilesControlCharactersToTheTerminal) {
  const std::vector<Diagnostic> diagnostics{{.message = "m",
                                             .file = "f\x1b[2J",
                                             .line = 1,
                                             .column = 1,
                                             .length = 1,
                                             .source_line = "a\x1b[31m"}};

  EXPECT_EQ(render(diagnostics, false).find('\x1b'), std::string::npos);
}

TEST(Render, ColorsOnlyWhenAsked) {
  const std::vector<Diagnostic> diagnostics{{.message = "m", .file = "f"}};

  EXPECT_EQ(render(diagnostics, true),
            "\033[1;31merror\033[0m\033[1m: m\033[0m\n  \033[1;34m-->\033[0m f\n");
}

TEST(ConfigErrors, SayEverythingInWhat) {
  const ConfigErrors errors({{.message = "one", .file = "f"}, {.message = "two", .file = "f"}});

  EXPECT_STREQ(errors.what(), "error: one\n  --> f\n\nerror: two\n  --> f\n");
  EXPECT_EQ(errors.code(), base::ExitCode::kUsage);
}

TEST(ConfigErrors, AreSortedByLine) {
  const auto found = problems_of("train: {micro_batch: x}\ndata: {shuffle: 3}\nmodel: {nme: a}\n");

  ASSERT_GE(found.size(), 3u);
  EXPECT_EQ(found[0].line, 1);
  EXPECT_EQ(found.back().line, 3);
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end(),
                             [](const auto& a, const auto& b) { return a.line < b.line; }));
}

TEST(ConfigErrors, StopAtFiftyAndSayHowManyMoreThereAre) {
  std::string text = kSmall;
  for (int i = 0; i < 120; ++i) text += "key" + std::to_string(i) + ": 1\n";

  const auto found = problems_of(text);

  ASSERT_EQ(found.size(), kMostDiagnostics);
  EXPECT_EQ(found.back().message, "there are 71 more problems (only the first 49 are shown)");
}

}  // namespace
}  // namespace lockstep::configs
