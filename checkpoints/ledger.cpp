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
  return line.add("prev", previous).finish();
}

LedgerEntry entry_of(const nlohmann::json& json) {
  return {.step = json.at("step").get<std::int64_t>(),
          .epoch = json.at("epoch").get<std::int64_t>(),
          .samples = json.at("samples").get<std::string>(),
          .loss = from_bits(json.at("loss_bits").get<std::string>()),
          .gradient_norm = from_bits(json.at("gradient_norm_bits").get<std::string>()),
          .lr = from_bits(json.at("lr_bits").get<std::string>()),
          .world_size = json.at("world_size").get<int>(),
          .state_digest = json.value("state_digest", "")};
}

/// What makes `line` unfit to follow the line with hash `previous` as that of `step`; empty when it
/// fits, and then `entry` is what it says.
std::string unfit(const std::string& line, const std::string& previous, std::int64_t step,
                  LedgerEntry& entry) {
  try {
    const auto json = nlohmann::json::parse(line);
    if (json.at("prev") != previous) {
      return "does not follow from the line before (one of them was changed)";
    }
    entry = entry_of(json);
  } catch (const nlohmann::json::exception& error) {
    return std::string("does not parse: ") + error.what();
  } catch (const base::CheckpointError& error) {
    return std::string("does not parse: ") + error.what();
  }
  if (entry.step != step) {
    return "is of step " + std::to_string(entry.step) + " (a step was repeated or skipped)";
  }
  return "";
}

}  // namespace

LedgerWriter::LedgerWriter(base::FileSystem& files, const std::string& path,
                           std::int64_t steps_done)
    : last_hash_(kFirstHash) {
  std::string text;
  if (files.file_size(path)) text = files.read_text(path);
  std::size_t kept = 0;
  for (const auto& line : whole_lines(text)) {
    LedgerEntry entry;
    if (last_step_ == steps_done) break;
    if (!unfit(line, last_hash_, last_step_ + 1, entry).empty()) break;
    last_hash_ = base::sha256_hex(line);
    ++last_step_;
    kept += line.size() + 1;
  }
  if (last_step_ != steps_done) {
    throw base::CheckpointError(
        "ledger " + base::quote(path) + " is whole up to step " + std::to_string(last_step_) +
        ", the checkpoint is of step " + std::to_string(steps_done) +
        " (lines are missing or changed); run 'lockstep verify', or resume an older checkpoint");
  }
  if (kept < text.size()) {
    const auto superseded = base::join_path(base::parent_path(path), "ledger.superseded.jsonl");
    auto rest = text.substr(kept);
    if (rest.back() != '\n') rest += '\n';
    const auto aside = files.open(superseded, base::OpenMode::kAppend);
    aside->append(rest);
    aside->sync();
    files.write_atomically(path, text.substr(0, kept));
  }
  file_ = files.open(path, base::OpenMode::kAppend);
}

void LedgerWriter::append(const LedgerEntry& entry) {
  LOCKSTEP_EXPECT(entry.step == last_step_ + 1, "a ledger line out of order");
  const auto line = line_of(entry, last_hash_);
  file_->append(line + "\n");
  last_hash_ = base::sha256_hex(line);
  last_step_ = entry.step;
}

void LedgerWriter::sync() { file_->sync(); }

LedgerCheck read_ledger(base::FileSystem& files, const std::string& path) {
  if (!files.file_size(path)) {
    throw base::CheckpointError("ledger " + base::quote(path) +
                                " does not exist (the run never started a step, or it was "
                                "removed); see 'lockstep show'");
  }
  LedgerCheck check;
  std::string hash = kFirstHash;
  std::int64_t step = 1;
  for (const auto& line : whole_lines(files.read_text(path))) {
    LedgerEntry entry;
    if (const auto problem = unfit(line, hash, step, entry); !problem.empty()) {
      check.problem = "line " + std::to_string(step) + " " + problem;
      break;
    }
    check.entries.push_back(std::move(entry));
    hash = base::sha256_hex(line);
    ++step;
  }
  return check;
}

}  // namespace lockstep::checkpoints
