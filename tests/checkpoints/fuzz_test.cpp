#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "checkpoints/json_lines.hpp"
#include "checkpoints/ledger.hpp"
#include "checkpoints/run_directory.hpp"
#include "tests/checkpoints/saved_state.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::checkpoints {
namespace {

// Reading hostile bytes ends in a result that keeps its promises or in a CheckpointError; anything
// else fails the test. The seeds are fixed, so a failure can be repeated.

constexpr int kRounds = 5'000;

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t bound) { return random() % bound; }

const std::vector<std::string>& tokens() {
  static const std::vector<std::string> kTokens{"{",
                                                "}",
                                                "[",
                                                "]",
                                                ":",
                                                ",",
                                                "\"",
                                                "\\u",
                                                "null",
                                                "true",
                                                "-1",
                                                "0",
                                                "1.5",
                                                "1e999",
                                                "18446744073709551615",
                                                "18446744073709551616",
                                                "\"F32\"",
                                                "\"\"",
                                                "[0,8]",
                                                "[]",
                                                "\"sha256\":",
                                                "\"__metadata__\":",
                                                "\xff",
                                                "\xc3",
                                                "\n",
                                                " ",
                                                std::string(1, '\0'),
                                                std::string(300, '[')};
  return kTokens;
}

/// One to four changes: a bit, a byte, a piece cut, doubled or moved, a token put in.
std::string mutated(std::string text, Random& random) {
  for (auto changes = 1 + below(random, 4); changes > 0; --changes) {
    const auto at = below(random, text.size() + 1);
    const auto length = std::min(below(random, 24), text.size() - at);
    switch (below(random, 6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(random, 8)));
        break;
      case 1:
        if (at < text.size()) text[at] = static_cast<char>(random());
        break;
      case 2: text.erase(at, length); break;
      case 3: text.insert(at, text.substr(at, length)); break;
      case 4: text.insert(below(random, text.size() + 1), text.substr(at, length)); break;
      default: text.insert(at, tokens()[below(random, tokens().size())]); break;
    }
  }
  return text;
}

/// Runs `action` and says whether it got through; a CheckpointError is the other good end.
template <class Action>
bool survives(Action&& action) {
  try {
    action();
    return true;
  } catch (const base::CheckpointError&) {
    return false;
  }
}

void expect_tiled(const SafetensorsHeader& header, std::uint64_t data_bytes) {
  std::uint64_t sum = 0;
  for (const auto& tensor : header.tensors) {
    ASSERT_LE(tensor.begin, tensor.end);
    ASSERT_LE(tensor.end, data_bytes);
    sum += tensor.end - tensor.begin;
  }
  ASSERT_EQ(sum, data_bytes);
}

TEST(Fuzz, ASafetensorsHeaderIsRefusedOrTilesItsFile) {
  Random random(1);
  const auto good = serialize(tests::SavedState(1).files()[0].header);
  int read = 0;
  for (int round = 0; round < kRounds; ++round) {
    auto bytes = mutated(good.substr(8), random);
    if (below(random, 8) != 0) {
      // Mostly with the right length, or nothing behind it would ever be reached.
      std::string prefix(8, '\0');
      for (std::size_t i = 0; i < 8; ++i) {
        prefix[i] = static_cast<char>(bytes.size() >> (8 * i) & 0xFF);
      }
      bytes.insert(0, prefix);
    } else {
      bytes = mutated(good, random);
    }
    read += survives(
        [&] { expect_tiled(parse_safetensors_header(bytes, bytes.size() + 1048, "x"), 1048); });
  }
  EXPECT_GT(read, 10);
  EXPECT_LT(read, kRounds - 10);
}

TEST(Fuzz, ASafetensorsFileIsRefusedOrReadWhole) {
  Random random(2);
  tests::FaultFileSystem files;
  const auto good = serialize(tests::SavedState(1).files()[0].header) + std::string(1048, 'x');
  for (int round = 0; round < kRounds / 10; ++round) {
    files.put("/m", mutated(good, random));
    survives([&] { parse_safetensors(files, "/m"); });
  }
}

/// The manifest text with its own digest made right again, so that what lies behind is reached.
std::string signed_again(const std::string& text) {
  auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || text.find("[[[") != std::string::npos) return text;
  json.erase("manifest_sha256");
  json["manifest_sha256"] = base::sha256_hex(json.dump());
  return json.dump();
}

TEST(Fuzz, AManifestIsRefusedOrDescribesFilesThatAreThere) {
  Random random(3);
  tests::FaultFileSystem files;
  CheckpointStore store(files, "/checkpoints");
  const tests::SavedState state(1);
  const auto path = tests::save(store, state);
  const auto good = files.read_text(path + "/manifest.json");
  int read = 0;
  for (int round = 0; round < kRounds; ++round) {
    auto text = mutated(good, random);
    if (below(random, 8) != 0) text = signed_again(text);
    files.put(path + "/manifest.json", text);
    read += survives([&] {
      const auto manifest = store.open(path);
      ASSERT_EQ(manifest.state_digest, state.digest());
      ASSERT_EQ(manifest.extents, state.extents());
      store.verify(manifest);
    });
    EXPECT_EQ(store.list().size(), 1u);
  }
  EXPECT_GT(read, 10) << "no changed manifest got through: metadata may change when it is signed";
  EXPECT_LT(read, kRounds - 10);
}

TEST(Fuzz, ALedgerIsReadUpToItsFirstWrongLine) {
  Random random(4);
  tests::FaultFileSystem files;
  files.make_directories("/run");
  {
    LedgerWriter writer(files, "/run/ledger.jsonl", 0);
    for (int step = 1; step <= 6; ++step) {
      writer.append({.step = step, .epoch = 0, .samples = "5a", .loss = 0.5});
    }
  }
  const auto good = files.read_text("/run/ledger.jsonl");
  const auto wanted = read_ledger(files, "/run/ledger.jsonl").entries;
  ASSERT_EQ(wanted.size(), 6u);
  for (int round = 0; round < kRounds; ++round) {
    files.put("/run/ledger.jsonl", mutated(good, random));

    const auto check = read_ledger(files, "/run/ledger.jsonl");
    // All but the last line that reads are those that were written.
    for (std::size_t i = 0; i + 1 < check.entries.size(); ++i) {
      ASSERT_EQ(check.entries[i], wanted[i]) << "round " << round;
    }
    const auto done = static_cast<std::int64_t>(below(random, 7));
    const bool reaches = done <= static_cast<std::int64_t>(check.entries.size());
    EXPECT_EQ(survives([&] {
                LedgerWriter writer(files, "/run/ledger.jsonl", done);
                writer.append({.step = done + 1, .samples = "5b"});
              }),
              reaches)
        << "round " << round;
    if (reaches) {
      const auto after = read_ledger(files, "/run/ledger.jsonl");
      ASSERT_EQ(after.problem, "") << "round " << round;
      ASSERT_EQ(after.entries.size(), static_cast<std::size_t>(done) + 1);
    }
  }
}

TEST(Fuzz, ARunRecordIsRefusedOrReadAndCanBeWrittenAgain) {
  Random random(5);
  RunRecord record;
  record.name = "amber-heron";
  record.command = {"lockstep", "train"};
  record.data["train"] = {.path = "t.h5", .fingerprint = "f0", .samples = 60000};
  record.world_sizes = {{.step = 0, .world_size = 8}};
  record.metrics = {{"accuracy", 0.91}};
  const auto good = to_json(record);
  int read = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto text = mutated(good, random);
    read += survives(
        [&] { parse_run_record(to_json(parse_run_record(text, "run.json")), "run.json"); });
  }
  EXPECT_GT(read, 10);
  EXPECT_LT(read, kRounds - 10);
}

TEST(Fuzz, JsonLinesAreSkippedOrRead) {
  Random random(6);
  tests::FaultFileSystem files;
  std::string good;
  for (int i = 0; i < 5; ++i) good += "{\"event\":\"step\",\"step\":" + std::to_string(i) + "}\n";
  for (int round = 0; round < kRounds / 10; ++round) {
    files.put("/events.jsonl", mutated(good, random));
    JsonLines(files, "/events.jsonl").append({{"event", "end"}});

    const auto objects = read_json_lines(files, "/events.jsonl");

    ASSERT_FALSE(objects.empty());
    ASSERT_EQ(objects.back().at("event"), "end");
  }
}

}  // namespace
}  // namespace lockstep::checkpoints
