#include "checkpoints/ledger.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "checkpoints/json_lines.hpp"

namespace lockstep::checkpoints {
namespace {

// Do not change: part of the format, see FORMAT.md.
const std::string kFirstHash(64, '0');

std::string bits_of(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  std::array<std::uint8_t, sizeof bits> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(bits >> (56 - 8 * i));
  }
  return base::to_hex(bytes);
}

double from_bits(const std::string& text) {
  std::uint64_t bits = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), bits, 16);
  if (code != std::errc{} || end != text.data() + text.size() || text.size() != 16) {
    throw base::CheckpointError("number bits " + base::quote(text) +
                                " are not 16 hexadecimal digits");
  }
  return std::bit_cast<double>(bits);
}

std::string line_of(const LedgerEntry& entry, const std::string& previous) {
  // The numbers are for people (JSON has no NaN); the bits are what counts.
  JsonLine line;
  line.add("step", entry.step)
      .add("epoch", entry.epoch)
      .add("samples", entry.samples)
      .add("loss", entry.loss)
      .add("loss_bits", bits_of(entry.loss))
      .add("gradient_norm", entry.gradient_norm)
      .add("gradient_norm_bits", bits_of(entry.gradient_norm))
      .add("lr", entry.lr)
      .add("lr_bits", bits_of(entry.lr))
      .add("world_size", std::int64_t{entry.world_size});
  if (!entry.state_digest.empty()) line.add("state_digest", entry.state_digest);
  if (!entry.skipped.empty()) line.add("skipped", entry.skipped);
  return line.add("prev", previous).finish();
}

std::string digest_line_of(std::int64_t step, const std::string& digest,
                           const std::string& previous) {
  JsonLine line;
  line.add("digest_of_step", step).add("state_digest", digest).add("prev", previous);
  return line.finish();
}

LedgerEntry entry_of(const nlohmann::json& json) {
  return {.step = json.at("step").get<std::int64_t>(),
          .epoch = json.at("epoch").get<std::int64_t>(),
          .samples = json.at("samples").get<std::string>(),
          .loss = from_bits(json.at("loss_bits").get<std::string>()),
          .gradient_norm = from_bits(json.at("gradient_norm_bits").get<std::string>()),
          .lr = from_bits(json.at("lr_bits").get<std::string>()),
          .world_size = json.at("world_size").get<int>(),
          .state_digest = json.value("state_digest", ""),
          .skipped = json.value("skipped", "")};
}

/// The digest of a step that was taken down after its line.
struct LateDigest {
  std::int64_t step = 0;
  std::string digest;
};

/// Follows the chain line by line.
class Chain {
 public:
  enum class Kind { kStep, kDigest, kUnfit };

  /// Whether `line` fits what came before; when it does, the chain has grown by it.
  Kind take(const std::string& line) {
    const auto kind = read(line);
    if (kind == Kind::kUnfit) return kind;
    hash_ = base::sha256_hex(line);
    if (kind == Kind::kStep) ++steps_;
    return kind;
  }

  const std::string& hash() const { return hash_; }
  std::int64_t steps() const { return steps_; }
  /// What the last line said, by its kind.
  LedgerEntry& entry() { return entry_; }
  const LateDigest& late() const { return late_; }
  const std::string& problem() const { return problem_; }

 private:
  Kind read(const std::string& line) {
    try {
      const auto json = nlohmann::json::parse(line);
      if (json.at("prev") != hash_) {
        return unfit("does not follow from the line before (one of them was changed)");
      }
      if (json.contains("digest_of_step")) {
        late_ = {.step = json.at("digest_of_step").get<std::int64_t>(),
                 .digest = json.at("state_digest").get<std::string>()};
        if (late_.step >= 1 && late_.step <= steps_) return Kind::kDigest;
        return unfit("has the digest of step " + std::to_string(late_.step) +
                     ", which is not there before it");
      }
      entry_ = entry_of(json);
    } catch (const nlohmann::json::exception& error) {
      return unfit(std::string("does not parse: ") + error.what());
    } catch (const base::CheckpointError& error) {
      return unfit(std::string("does not parse: ") + error.what());
    }
    if (entry_.step == steps_ + 1) return Kind::kStep;
    return unfit("is of step " + std::to_string(entry_.step) + " (a step was repeated or skipped)");
  }

  Kind unfit(std::string problem) {
    problem_ = std::move(problem);
    return Kind::kUnfit;
  }

  std::string hash_ = kFirstHash;
  std::int64_t steps_ = 0;
  LedgerEntry entry_;
  LateDigest late_;
  std::string problem_;
};

/// A ledger's text up to a step, and what comes after it.
struct CutLedger {
  std::string kept, rest;
  std::vector<LateDigest> digests;  ///< in the rest, of steps that are kept
  std::string hash;                 ///< of the last line that is kept
  std::int64_t steps = 0;           ///< that are kept
};

CutLedger cut_after(const std::string& text, std::int64_t steps_done) {
  CutLedger cut;
  Chain chain;
  std::size_t kept = 0;
  bool later = false;
  for (const auto& line : whole_lines(text)) {
    const auto kind = chain.take(line);
    if (kind == Chain::Kind::kUnfit) break;
    later = later || chain.steps() > steps_done;
    if (!later) {
      kept += line.size() + 1;
      cut.hash = chain.hash();
      cut.steps = chain.steps();
    } else if (kind == Chain::Kind::kDigest && chain.late().step <= steps_done) {
      cut.digests.push_back(chain.late());
    }
  }
  if (kept == 0) cut.hash = kFirstHash;
  cut.kept = text.substr(0, kept);
  cut.rest = text.substr(kept);
  return cut;
}

}  // namespace

LedgerWriter::LedgerWriter(base::FileSystem& files, const std::string& path,
                           std::int64_t steps_done, LastLine last_line) {
  auto cut = cut_after(files.file_size(path) ? files.read_text(path) : std::string(), steps_done);
  last_hash_ = cut.hash;
  last_step_ = cut.steps;
  const bool lacks_last = last_line == LastLine::kMayLack && last_step_ + 1 == steps_done;
  if (last_step_ != steps_done && !lacks_last) {
    throw base::CheckpointError("ledger " + base::quote(path) + " is whole up to step " +
                                std::to_string(last_step_) + ", the checkpoint is of step " +
                                std::to_string(steps_done) +
                                " (lines are missing or changed); run 'lockstep verify'");
  }
  if (!cut.rest.empty()) {
    const auto superseded = base::join_path(base::parent_path(path), "ledger.superseded.jsonl");
    if (cut.rest.back() != '\n') cut.rest += '\n';
    const auto aside = files.open(superseded, base::OpenMode::kAppend);
    aside->append(cut.rest);
    aside->sync();
    for (const auto& late : cut.digests) {
      const auto line = digest_line_of(late.step, late.digest, last_hash_);
      last_hash_ = base::sha256_hex(line);
      cut.kept += line + "\n";
    }
    files.write_atomically(path, cut.kept);
  }
  file_ = files.open(path, base::OpenMode::kAppend);
}

void LedgerWriter::append_line(const std::string& line) {
  file_->append(line + "\n");
  last_hash_ = base::sha256_hex(line);
}

void LedgerWriter::append(const LedgerEntry& entry) {
  LOCKSTEP_EXPECT(entry.step == last_step_ + 1, "a ledger line out of order");
  append_line(line_of(entry, last_hash_));
  last_step_ = entry.step;
}

void LedgerWriter::append_digest(std::int64_t step, const std::string& state_digest) {
  LOCKSTEP_EXPECT(step >= 1 && step <= last_step_, "the digest of a step that is not there");
  append_line(digest_line_of(step, state_digest, last_hash_));
}

void LedgerWriter::sync() { file_->sync(); }

LedgerCheck read_ledger(base::FileSystem& files, const std::string& path) {
  if (!files.file_size(path)) {
    throw base::CheckpointError("ledger " + base::quote(path) +
                                " does not exist (the run never started a step, or it was "
                                "removed); see 'lockstep show'");
  }
  LedgerCheck check;
  Chain chain;
  std::size_t number = 0;
  for (const auto& line : whole_lines(files.read_text(path))) {
    ++number;
    std::string problem;
    switch (chain.take(line)) {
      case Chain::Kind::kStep: check.entries.push_back(std::move(chain.entry())); break;
      case Chain::Kind::kUnfit: problem = chain.problem(); break;
      case Chain::Kind::kDigest: {
        const auto& [step, digest] = chain.late();
        auto& noted = check.entries[static_cast<std::size_t>(step) - 1].state_digest;
        if (!noted.empty() && noted != digest) {
          problem = "has another state digest for step " + std::to_string(step) +
                    " than a line before it";
        }
        noted = digest;
      }
    }
    if (problem.empty()) continue;
    check.problem = "line " + std::to_string(number) + " " + problem;
    break;
  }
  return check;
}

}  // namespace lockstep::checkpoints
