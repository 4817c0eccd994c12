#include "data/inspect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/elements.hpp"
#include "data/file_descriptor.hpp"
#include "data/fingerprint.hpp"
#include "data/row_scan.hpp"
#include "data/shape_text.hpp"

namespace lockstep::data {
namespace {

constexpr std::int64_t kScanBytes = std::int64_t{4} << 20;
constexpr std::int64_t kMostLabelCounts = 65'536;
/// Reading one row decodes its whole chunk; beyond this shuffled reading is slow.
constexpr std::uint64_t kLargeChunkBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kSmallChunkBytes = 4096;
/// What is read at once anyhow.
constexpr std::uint64_t kSmallBytes = std::uint64_t{1} << 20;
constexpr std::size_t kMostLabelsShown = 20;

/// Calls `use` with the elements of blocks of rows.
template <class Use>
void scan(DatasetFile& file, const ColumnInfo& column, Use&& use) {
  detail::for_each_block(file, column, kScanBytes, [&](std::int64_t, auto raw) {
    detail::with_elements(column.dtype, raw, use);
  });
}

void count_labels(DatasetFile& file, const ColumnInfo& column, FileSummary& summary) {
  summary.label_counts.assign(static_cast<std::size_t>(std::min(summary.classes, kMostLabelCounts)),
                              0);
  scan(file, column, [&]<class T>(std::span<const T> elements) {
    if constexpr (std::is_integral_v<T>) {
      for (const auto element : elements) {
        const auto label = detail::to_i64(element);
        if (label < kMostLabelCounts) ++summary.label_counts[static_cast<std::size_t>(label)];
      }
    }
  });
}

void find_extremes(DatasetFile& file, const ColumnInfo& column, FileSummary& summary) {
  double smallest = std::numeric_limits<double>::infinity();
  double largest = -smallest;
  std::int64_t not_finite = 0;
  scan(file, column, [&]<class T>(std::span<const T> elements) {
    for (const auto element : elements) {
      const auto value = static_cast<double>(element);
      if constexpr (detail::kIsFloat<T>) {
        if (!std::isfinite(value)) {
          ++not_finite;
          continue;
        }
      }
      smallest = std::min(smallest, value);
      largest = std::max(largest, value);
    }
  });
  if (smallest <= largest) {
    summary.smallest_input = smallest;
    summary.largest_input = largest;
  }
  if (not_finite > 0) {
    summary.advice.push_back(fmt::format(
        "dataset {} has {} values that are not finite (training on them is refused); remove or "
        "replace them",
        base::quote(column.name), base::format_count(static_cast<std::uint64_t>(not_finite))));
  }
}

/// What a shuffled row costs, where that is more than the row.
void advise_on_layout(DatasetFile& file, const ColumnInfo& column, const InspectOptions& options,
                      FileSummary& summary) {
  if (column.dtype == DType::kUnsupported || column.shape.empty() || column.row_bytes() == 0)
    return;
  const auto advise = [&](const std::string& problem, const std::string& advice) {
    summary.advice.push_back(
        fmt::format("dataset {} {}; {}", base::quote(column.name), problem, advice));
  };
  const auto access = file.access_of(column.name);
  const auto stored = file.stored_bytes(column.name);
  if (access == RowAccess::kHdf5 && stored > kSmallBytes) {
    advise("is read by " + file.access_text(column.name) +
               " (one thread of a process at a time, several times slower than this program's own "
               "reading)",
           "run 'lockstep data repack'");
    return;
  }
  if (column.chunk.empty()) return;
  const auto rows_in_chunk =
      std::min(column.chunk.front(), std::max<std::int64_t>(1, column.rows()));
  const auto bytes = static_cast<std::uint64_t>(rows_in_chunk) * column.row_bytes();
  if (access != RowAccess::kDecoded) {
    if (bytes < kSmallChunkBytes && stored > kSmallBytes) {
      advise(
          fmt::format("has chunks of {} {}, {} each (its {} chunks have to be found one by one "
                      "when it is opened)",
                      rows_in_chunk, rows_in_chunk == 1 ? "row" : "rows", base::format_bytes(bytes),
                      base::format_count(static_cast<std::uint64_t>(
                          (column.rows() + rows_in_chunk - 1) / rows_in_chunk))),
          "run 'lockstep data repack'");
    }
    return;
  }
  if (bytes < kSmallChunkBytes && stored > kSmallBytes) {
    advise(
        fmt::format("has compressed chunks of {} {}, {} each (unpacking so little at a time "
                    "costs many times more than the bytes)",
                    rows_in_chunk, rows_in_chunk == 1 ? "row" : "rows", base::format_bytes(bytes)),
        "run 'lockstep data repack' with --chunk-rows, or without compression");
  }
  const auto decoded = file.whole_cache_bytes(column.name);
  if (decoded <= options.cache_bytes) return;
  if (rows_in_chunk > 1 && bytes > kLargeChunkBytes) {
    advise(fmt::format("has chunks of {} rows, {} each, and takes {} once it is decoded (shuffled "
                       "reading decodes a whole chunk for a row that does not fit "
                       "data.cache_bytes)",
                       rows_in_chunk, base::format_bytes(bytes), base::format_bytes(decoded)),
           "run 'lockstep data repack', or set data.order to block");
  } else {
    advise(fmt::format("takes {} once it is decoded (what does not fit data.cache_bytes is decoded "
                       "again in each epoch)",
                       base::format_bytes(decoded)),
           "set data.order to block, or run 'lockstep data repack'");
  }
}

void describe_task(DatasetFile& file, const InspectOptions& options, FileSummary& summary) {
  // A context of one only asks whether the tokens are readable; samples are counted in tokens.
  SourceOptions source_options;
  source_options.paths = {summary.path};
  source_options.inputs = options.inputs;
  source_options.targets = options.targets;
  source_options.tokens = options.tokens;
  source_options.context = 1;
  source_options.fingerprinting = Fingerprinting::kNone;
  const auto info = SampleSource(source_options).info();
  summary.classes = info.classes;
  if (info.kind == TaskKind::kTokens) {
    const auto& tokens = file.column(options.tokens);
    summary.samples = tokens.rows();
    if (options.scan == Scan::kValues) count_labels(file, tokens, summary);
  } else {
    summary.samples = info.samples;
    if (options.scan == Scan::kValues) {
      if (info.kind == TaskKind::kClassification) {
        count_labels(file, file.column(options.targets), summary);
      }
      find_extremes(file, file.column(options.inputs), summary);
    }
  }
  summary.kind = info.kind;
}

std::string column_table(const FileSummary& summary) {
  std::vector<std::array<std::string, 7>> rows = {
      {"dataset", "type", "shape", "chunk", "filters", "read", "stored"}};
  for (std::size_t i = 0; i < summary.columns.size(); ++i) {
    const auto& column = summary.columns[i];
    rows.push_back({column.name, column.type_name,
                    column.shape.empty() ? "-" : dimensions_text(column.shape),
                    column.chunk.empty() ? "-" : dimensions_text(column.chunk),
                    column.filters.empty() ? "-" : base::joined(column.filters), summary.access[i],
                    base::format_bytes(summary.stored_bytes[i])});
  }
  std::array<std::size_t, 7> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      text += fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    text += fmt::format("{:>{}}\n", row.back(), widths.back());
  }
  return text;
}

std::string label_line(const FileSummary& summary) {
  std::string text;
  for (std::size_t i = 0; i < std::min(kMostLabelsShown, summary.label_counts.size()); ++i) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : ", ", i,
                        base::format_count(static_cast<std::uint64_t>(summary.label_counts[i])));
  }
  if (summary.label_counts.size() > kMostLabelsShown) text += ", ...";
  return text;
}

}  // namespace

FileSummary inspect(const std::string& path, const InspectOptions& options) {
  DatasetFile file(path);
  FileSummary summary;
  summary.path = path;
  summary.file_bytes = detail::FileDescriptor(path).size();
  summary.columns = file.columns();
  for (const auto& column : summary.columns) {
    summary.access.emplace_back("-");
    summary.stored_bytes.push_back(column.in_other_file ? 0 : file.stored_bytes(column.name));
    if (column.dtype == DType::kUnsupported || column.shape.empty()) continue;
    try {
      summary.access.back() = file.access_text(column.name);
      advise_on_layout(file, column, options, summary);
    } catch (const base::DataError& error) {
      summary.advice.emplace_back(error.what());
    }
  }
  try {
    describe_task(file, options, summary);
  } catch (const base::DataError& error) {
    summary.advice.emplace_back(error.what());
  }
  if (options.scan == Scan::kValues) summary.fingerprint = fingerprint(path);
  return summary;
}

std::string to_text(const FileSummary& summary) {
  std::string text = fmt::format("{}  {}\n\n{}\n", summary.path,
                                 base::format_bytes(summary.file_bytes), column_table(summary));
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("{:<12} {}\n", name, value);
  };
  line("task", summary.kind ? name_of(*summary.kind) : "none");
  if (summary.kind) {
    line(*summary.kind == TaskKind::kTokens ? "tokens" : "samples",
         base::format_count(static_cast<std::uint64_t>(summary.samples)));
    if (*summary.kind == TaskKind::kTokens) {
      line("vocabulary", base::format_count(static_cast<std::uint64_t>(summary.classes)));
    } else if (summary.classes > 0) {
      line("classes", base::format_count(static_cast<std::uint64_t>(summary.classes)));
      if (!summary.label_counts.empty()) line("labels", label_line(summary));
    }
  }
  if (summary.smallest_input) {
    line("inputs", fmt::format("{:g} to {:g}", *summary.smallest_input, *summary.largest_input));
  }
  if (!summary.fingerprint.empty()) line("fingerprint", summary.fingerprint);
  for (const auto& advice : summary.advice) line("note", advice);
  return text;
}

std::string to_json(const FileSummary& summary) {
  auto columns = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < summary.columns.size(); ++i) {
    const auto& column = summary.columns[i];
    columns.push_back({{"name", column.name},
                       {"dtype", name_of(column.dtype)},
                       {"type", column.type_name},
                       {"shape", column.shape},
                       {"chunk", column.chunk},
                       {"filters", column.filters},
                       {"access", summary.access[i]},
                       {"stored_bytes", summary.stored_bytes[i]}});
  }
  nlohmann::ordered_json json;
  json["path"] = summary.path;
  json["file_bytes"] = summary.file_bytes;
  json["columns"] = std::move(columns);
  json["task"] = nullptr;
  if (summary.kind) json["task"] = name_of(*summary.kind);
  json["samples"] = summary.samples;
  json["classes"] = summary.classes;
  json["label_counts"] = summary.label_counts;
  json["inputs_min"] = nullptr;
  json["inputs_max"] = nullptr;
  if (summary.smallest_input) {
    json["inputs_min"] = *summary.smallest_input;
    json["inputs_max"] = *summary.largest_input;
  }
  json["fingerprint"] = summary.fingerprint;
  json["advice"] = summary.advice;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lockstep::data
