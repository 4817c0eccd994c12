#include "data/verify.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/column_places.hpp"
#include "data/file_descriptor.hpp"
#include "data/row_blocks.hpp"

namespace lockstep::data {
namespace {

ColumnCheck check_column(detail::RowBlocks& blocks, const ColumnInfo& column) {
  ColumnCheck check;
  check.name = column.name;
  check.type_name = column.type_name;
  check.rows = column.rows();
  check.bytes = static_cast<std::uint64_t>(column.rows()) * column.row_bytes();
  if (check.bytes == 0) {
    check.state = ColumnCheck::State::kNotRead;
    return check;
  }
  try {
    blocks.scan(column, [](const detail::RowBlock&) {});
  } catch (const base::DataError& error) {
    check.state = ColumnCheck::State::kDamaged;
    check.problem = error.what();
  }
  return check;
}

/// The blocks that differ, neighbours as one range.
std::vector<DamagedRange> differences(const Manifest& wanted, const Manifest& found) {
  std::vector<DamagedRange> ranges;
  const auto block_bytes = manifest_block_bytes();
  const auto most = std::max(wanted.blocks.size(), found.blocks.size());
  for (std::size_t i = 0; i < most; ++i) {
    if (i < wanted.blocks.size() && i < found.blocks.size() &&
        wanted.blocks[i] == found.blocks[i]) {
      continue;
    }
    const auto begin = i * block_bytes;
    const auto end = std::min(begin + block_bytes, std::max(wanted.file_bytes, found.file_bytes));
    if (!ranges.empty() && ranges.back().end == begin) {
      ranges.back().end = end;
    } else {
      ranges.push_back({.begin = begin, .end = end, .rows = {}});
    }
  }
  return ranges;
}

void name_rows(const std::vector<detail::ColumnPlace>& places, DamagedRange& range) {
  for (const auto& place : places) {
    const auto end = place.begin + place.rows * place.row_bytes;
    const auto first = std::max(range.begin, place.begin);
    const auto last = std::min(range.end, end);
    if (first >= last) continue;
    range.rows.push_back({.column = place.name,
                          .begin = (first - place.begin) / place.row_bytes,
                          .end = (last - place.begin + place.row_bytes - 1) / place.row_bytes});
  }
}

void compare(const std::string& path, const VerifyOptions& options, VerifyReport& report) {
  const auto wanted = read_manifest(options.manifest);
  const auto found = manifest_of(path, options.threads);
  report.manifest = options.manifest;
  report.damaged = differences(wanted, found);
  if (wanted.file_bytes != found.file_bytes) {
    report.problem = "data file " + base::quote(path) + " has " +
                     base::format_count(found.file_bytes) + " bytes, its manifest says " +
                     base::format_count(wanted.file_bytes) +
                     " (it was cut short, or changed since); copy it again";
  }
}

}  // namespace

bool VerifyReport::is_good() const {
  return problem.empty() && damaged.empty() &&
         std::none_of(columns.begin(), columns.end(), [](const ColumnCheck& column) {
           return column.state == ColumnCheck::State::kDamaged;
         });
}

VerifyReport verify(const std::string& path, const VerifyOptions& options) {
  VerifyReport report;
  report.path = path;
  report.file_bytes = detail::FileDescriptor(path).size();
  if (!options.manifest.empty()) compare(path, options, report);
  try {
    detail::RowBlocks blocks(path, options.threads);
    const auto columns = blocks.file().columns();
    for (const auto& column : columns) report.columns.push_back(check_column(blocks, column));
    if (!report.damaged.empty()) {
      const auto places = detail::column_places(path, columns);
      for (auto& range : report.damaged) name_rows(places, range);
    }
  } catch (const base::DataError& error) {
    if (report.problem.empty()) report.problem = error.what();
  }
  return report;
}

std::string to_json(const VerifyReport& report) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["path"] = report.path;
  json["good"] = report.is_good();
  json["file_bytes"] = report.file_bytes;
  json["problem"] = report.problem;
  json["columns"] = Json::array();
  for (const auto& column : report.columns) {
    const char* state = column.state == ColumnCheck::State::kGood      ? "good"
                        : column.state == ColumnCheck::State::kDamaged ? "damaged"
                                                                       : "not read";
    json["columns"].push_back({{"name", column.name},
                               {"type", column.type_name},
                               {"rows", column.rows},
                               {"bytes", column.bytes},
                               {"state", state},
                               {"problem", column.problem}});
  }
  json["manifest"] = report.manifest;
  json["damaged"] = Json::array();
  for (const auto& range : report.damaged) {
    Json rows = Json::array();
    for (const auto& part : range.rows) {
      rows.push_back({{"dataset", part.column}, {"begin", part.begin}, {"end", part.end}});
    }
    json["damaged"].push_back({{"begin", range.begin}, {"end", range.end}, {"rows", rows}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lockstep::data
