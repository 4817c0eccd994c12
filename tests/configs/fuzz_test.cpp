#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/file_system.hpp"
#include "configs/writer.hpp"
#include "tests/configs/reading.hpp"

namespace lockstep::configs {
namespace {

// Reading hostile text ends in a configuration or in ConfigErrors; anything else fails the test.
// The seeds are fixed, so a failure can be repeated.

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t bound) { return random() % bound; }

std::vector<std::string> example_texts() {
  std::vector<std::string> texts;
  for (const auto& entry : std::filesystem::directory_iterator(LOCKSTEP_EXAMPLES)) {
    texts.push_back(base::FileSystem::posix().read_text(entry.path().string()));
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_GE(texts.size(), 5u);
  return texts;
}

/// Pieces that mean something to YAML or to the reader.
const std::vector<std::string>& tokens() {
  static const std::vector<std::string> kTokens{"{",
                                                "}",
                                                "[",
                                                "]",
                                                ":",
                                                ": ",
                                                "- ",
                                                "? ",
                                                "&a ",
                                                "*a",
                                                "!",
                                                "!!str ",
                                                "|",
                                                ">-",
                                                "'",
                                                "\"",
                                                "#",
                                                " #",
                                                "\n",
                                                "\r\n",
                                                "\t",
                                                "%YAML 1.1\n",
                                                "---\n",
                                                "...\n",
                                                "<<: *a\n",
                                                "<<",
                                                "${",
                                                "}",
                                                "$${",
                                                "${env:A,",
                                                "${train.seed}",
                                                "include: x.yaml\n",
                                                "include: exp.yaml\n",
                                                "~",
                                                "null",
                                                "true",
                                                ".nan",
                                                "-.inf",
                                                "1e999",
                                                "-1",
                                                "0",
                                                "9223372036854775808",
                                                "\xff",
                                                "\xc3",
                                                "\xef\xbb\xbf",
                                                std::string(1, '\0'),
                                                "\xe2\x80\xa8",
                                                "\\",
                                                "\\x",
                                                "train:",
                                                "model: ",
                                                "epochs: ",
                                                ","};
  return kTokens;
}

void mutate(std::string& text, Random& random) {
  const auto at = below(random, text.size() + 1);
  const auto length = std::min(text.size() - at, below(random, 20));
  switch (below(random, 6)) {
    case 0: text.insert(at, tokens()[below(random, tokens().size())]); break;
    case 1: text.erase(at, length); break;
    case 2: text.insert(at, text.substr(below(random, text.size() + 1), below(random, 60))); break;
    case 3: text.replace(at, length, tokens()[below(random, tokens().size())]); break;
    case 4: text.insert(at, 1, static_cast<char>(random())); break;
    default:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(random, 8)));
  }
}

/// True when the text was accepted; whatever was accepted must survive being saved.
bool survives(const std::string& text, const std::vector<std::string>& overrides) {
  try {
    const auto loaded = read_config_text(text, "nowhere/exp.yaml",
                                         {.overrides = overrides, .environment = {{"A", "1"}}});
    EXPECT_EQ(read_text(to_yaml(loaded.config, &loaded.origins)).config, loaded.config) << text;
    return true;
  } catch (const ConfigErrors& errors) {
    EXPECT_FALSE(errors.diagnostics.empty());
    EXPECT_LE(errors.diagnostics.size(), kMostDiagnostics);
    return false;
  }
}

TEST(Fuzz, MutatedExamplesAreReadOrRefused) {
  Random random(1);
  const auto texts = example_texts();
  int accepted = 0;

  for (int i = 0; i < 4000; ++i) {
    auto text = texts[below(random, texts.size())];
    for (auto n = 1 + below(random, 4); n > 0; --n) mutate(text, random);
    accepted += survives(text, {}) ? 1 : 0;
  }

  EXPECT_GT(accepted, 100);
  EXPECT_LT(accepted, 3900);
}

TEST(Fuzz, RandomBytesAreRefused) {
  Random random(2);

  for (int i = 0; i < 2000; ++i) {
    std::string text(below(random, 300), ' ');
    for (auto& byte : text) byte = static_cast<char>(random());
    survives(text, {});
  }
}

TEST(Fuzz, RandomTokensAreReadOrRefused) {
  Random random(3);

  for (int i = 0; i < 4000; ++i) {
    std::string text;
    for (auto n = below(random, 40); n > 0; --n) text += tokens()[below(random, tokens().size())];
    survives(text, {});
  }
}

TEST(Fuzz, MutatedOverridesAreReadOrRefused) {
  Random random(4);
  const std::vector<std::string> starts{"train.optimizer={name: sgd, lr: 0.1}", "+train.seed=3",
                                        "~train.epochs", "model.hidden=[1, 2]",
                                        "run.name=${model.name}-${env:A,b}"};

  for (int i = 0; i < 4000; ++i) {
    std::vector<std::string> overrides;
    for (auto n = 1 + below(random, 3); n > 0; --n) {
      overrides.push_back(starts[below(random, starts.size())]);
      mutate(overrides.back(), random);
    }
    survives(kSmall, overrides);
  }
}

}  // namespace
}  // namespace lockstep::configs
