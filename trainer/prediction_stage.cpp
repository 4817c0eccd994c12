#include "trainer/prediction_stage.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace lockstep::trainer {
namespace {

std::string beside(const std::string& output, const std::string& ending) {
  const auto directory = base::parent_path(output);
  const auto name = output.substr(output.find_last_of('/') + 1);
  return base::join_path(directory, "." + name + ending);
}

std::string line_of(std::int64_t begin, std::int64_t end, const std::string& hash) {
  return nlohmann::ordered_json{{"begin", begin}, {"end", end}, {"xxh3", hash}}.dump() + "\n";
}

std::string hash_of(std::span<const std::byte> bytes) {
  return base::to_hex(base::xxh3_128(bytes));
}

}  // namespace

PredictionStage::PredictionStage(base::FileSystem& files, StagedRows what)
    : files_(files),
      what_(std::move(what)),
      partial_path_(beside(what_.output, ".partial")),
      journal_path_(beside(what_.output, ".journal")) {
  LOCKSTEP_EXPECT(what_.identity.find('\n') == std::string::npos, "an identity of several lines");
  read_journal();
}

void PredictionStage::read_journal() {
  if (!files_.file_size(journal_path_)) return;
  const auto partial_bytes = files_.file_size(partial_path_);
  if (!partial_bytes) {
    dropped_ = "its rows are missing";
    return;
  }
  const auto text = files_.read_text(journal_path_);
  // A last line without its end was not written to the end.
  const auto lines = base::split(text.substr(0, text.find_last_of('\n') + 1), '\n');
  if (lines.empty() || lines[0] != what_.identity) {
    dropped_ = "it is of another model, of other data, or of other settings";
    return;
  }
  for (std::size_t i = 1; i < lines.size() && !lines[i].empty(); ++i) {
    const auto json = nlohmann::json::parse(lines[i], nullptr, /*allow_exceptions=*/false);
    Range range;
    try {
      json.at("begin").get_to(range.begin);
      json.at("end").get_to(range.end);
      json.at("xxh3").get_to(range.hash);
    } catch (const nlohmann::json::exception&) {
      range.end = -1;
    }
    if (!fits(range, *partial_bytes)) {
      dropped_ = "its journal is damaged from line " + std::to_string(i + 1) + " on";
      return;
    }
    ranges_.push_back(std::move(range));
  }
}

bool PredictionStage::fits(const Range& range, std::uint64_t partial_bytes) const {
  return range.begin == committed() && range.begin < range.end && range.end <= what_.rows &&
         (range.end % what_.unit == 0 || range.end == what_.rows) &&
         offset(range.end) <= partial_bytes;
}

std::optional<std::vector<std::byte>> PredictionStage::read(std::size_t range) {
  const auto& place = ranges_.at(range);
  std::vector<std::byte> bytes(offset(place.end) - offset(place.begin));
  files_.read_at(partial_path_, offset(place.begin), bytes);
  if (hash_of(bytes) != place.hash) return std::nullopt;
  return bytes;
}

void PredictionStage::keep(std::size_t ranges) {
  if (ranges < ranges_.size()) {
    dropped_ = "its rows are damaged from row " + std::to_string(ranges_[ranges].begin) + " on";
    ranges_.resize(ranges);
  }
  // A new file under the name: another command may still write the old one.
  if (ranges_.empty()) files_.remove_all(partial_path_);
  partial_ = files_.open(partial_path_,
                         ranges_.empty() ? base::OpenMode::kCreate : base::OpenMode::kExisting);
  std::string text = what_.identity + "\n";
  for (const auto& range : ranges_) text += line_of(range.begin, range.end, range.hash);
  files_.write_atomically(journal_path_, text);
  journal_ = files_.open(journal_path_, base::OpenMode::kAppend);
}

void PredictionStage::append(std::span<const std::byte> rows) {
  LOCKSTEP_EXPECT(rows.size() % what_.row_bytes == 0, "a part of a row");
  pending_.insert(pending_.end(), rows.begin(), rows.end());
}

void PredictionStage::commit() {
  if (pending_.empty()) return;
  LOCKSTEP_EXPECT(journal_ != nullptr, "a commit before it was said what is kept");
  Range range{.begin = committed(), .end = 0, .hash = hash_of(pending_)};
  range.end = range.begin + static_cast<std::int64_t>(pending_.size() / what_.row_bytes);
  LOCKSTEP_EXPECT(fits(range, offset(range.end)), "rows that end inside a unit");
  partial_->write_at(offset(range.begin), pending_);
  partial_->sync();
  journal_->append(line_of(range.begin, range.end, range.hash));
  journal_->sync();
  ranges_.push_back(std::move(range));
  pending_.clear();
}

void PredictionStage::remove() {
  partial_.reset();
  journal_.reset();
  files_.remove_all(journal_path_);
  files_.remove_all(partial_path_);
}

}  // namespace lockstep::trainer
