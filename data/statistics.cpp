#include "data/statistics.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/column_statistics.hpp"
#include "data/elements.hpp"
#include "data/fingerprint.hpp"
#include "data/result_cache.hpp"

namespace lockstep::data {
namespace {

using detail::Moments;
using Json = nlohmann::ordered_json;

const char* const kKind = "statistics";
/// Part of the key of kept results: one more whenever they change.
constexpr int kVersion = 1;
constexpr std::int64_t kMostBins = 65'536;
constexpr std::size_t kMostClasses = 65'536;

void check(const StatisticsOptions& options) {
  if (options.bins < 1 || options.bins > kMostBins) {
    throw base::ConfigError("a histogram of " + std::to_string(options.bins) +
                            " bins cannot be made (1 to 65,536 can); give for example --bins 64");
  }
}

bool is_readable(const ColumnInfo& column) {
  return column.dtype != DType::kUnsupported && !column.shape.empty();
}

std::vector<ColumnInfo> chosen_columns(DatasetFile& file, const StatisticsOptions& options,
                                       std::vector<std::string>& notes) {
  std::vector<ColumnInfo> chosen;
  for (const auto& name : options.columns) {
    file.access_of(name);  // says what is wrong with a column that cannot be read
    chosen.push_back(file.column(name));
  }
  if (!options.columns.empty()) return chosen;
  for (const auto& column : file.columns()) {
    if (is_readable(column)) {
      chosen.push_back(column);
    } else {
      notes.push_back("dataset " + base::quote(column.name) + " was left out (it holds " +
                      column.type_name + (column.shape.empty() ? " without rows)" : " elements)"));
    }
  }
  return chosen;
}

bool are_labels(const ColumnInfo& column) {
  return is_integer(column.dtype) && column.shape.size() == 1;
}

/// Count, mean and deviation of the inputs of each class.
class PerClass {
 public:
  PerClass(detail::RowBlocks& blocks, const StatisticsOptions& options)
      : blocks_(blocks), options_(options) {}

  std::vector<ClassStatistics> operator()() {
    const std::array names{options_.inputs, options_.targets};
    blocks_.file().rows(names);
    const auto inputs = blocks_.file().column(options_.inputs);
    blocks_.file().access_of(options_.inputs);
    const auto targets = blocks_.file().column(options_.targets);
    if (!are_labels(targets)) {
      throw base::DataError("dataset " + base::quote(targets.name) + " of " +
                            base::quote(blocks_.file().path()) +
                            " has no classes (they are integers, one a row); leave --per-class "
                            "away, or name the classes with --targets");
    }
    detail::OrderedFold<Classes> fold([](const Classes& lower, const Classes& upper) {
      auto both = lower;
      for (const auto& [label, part] : upper) both[label] = merged(both[label], part);
      return both;
    });
    blocks_.scan(inputs, [&](const detail::RowBlock& block) {
      fold.add(block.index, classes_of(block, inputs, targets));
    });
    std::vector<ClassStatistics> result;
    for (const auto& [label, part] : fold.finish().value_or(Classes{})) {
      result.push_back({.label = label, .rows = part.rows, .inputs = std::nullopt});
      if (part.moments.count > 0) {
        result.back().inputs = {part.moments.mean, part.moments.deviation()};
      }
    }
    return result;
  }

 private:
  struct Class {
    std::int64_t rows = 0;
    Moments moments;
  };
  using Classes = std::map<std::int64_t, Class>;

  static Class merged(const Class& lower, const Class& upper) {
    return {lower.rows + upper.rows, detail::merged(lower.moments, upper.moments)};
  }

  Classes classes_of(const detail::RowBlock& block, const ColumnInfo& inputs,
                     const ColumnInfo& targets) const {
    std::vector<std::byte> raw(static_cast<std::size_t>(block.count) * targets.row_bytes());
    block.file.read_rows(targets.name, block.begin, block.count, raw);
    std::vector<std::int64_t> labels;
    detail::with_elements(targets.dtype, raw, [&]<class T>(std::span<const T> elements) {
      if constexpr (std::is_integral_v<T>) {
        for (const T element : elements) labels.push_back(detail::to_i64(element));
      }
    });
    Classes classes;
    for (std::size_t row = 0; row < labels.size(); ++row) {
      const auto bytes = block.raw.subspan(row * inputs.row_bytes(), inputs.row_bytes());
      auto& mine = classes[labels[row]];
      mine = merged(mine, {1, moments_of(bytes, inputs.dtype)});
    }
    if (classes.size() > kMostClasses) {
      throw base::DataError("dataset " + base::quote(targets.name) + " of " +
                            base::quote(block.file.path()) +
                            " has more than 65,536 labels (they are no classes); leave --per-class "
                            "away, or name the classes with --targets");
    }
    return classes;
  }

  static Moments moments_of(std::span<const std::byte> row, DType dtype) {
    std::array<double, detail::kLeafElements> leaf;
    Moments moments;
    const auto most = detail::kLeafElements * size_of(dtype);
    for (std::size_t begin = 0; begin < row.size(); begin += most) {
      const auto bytes = row.subspan(begin, std::min(most, row.size() - begin));
      const auto values = std::span(leaf).first(bytes.size() / size_of(dtype));
      detail::widen(dtype, bytes, values);
      moments = detail::merged(moments, detail::summary_of(values).moments);
    }
    return moments;
  }

  detail::RowBlocks& blocks_;
  const StatisticsOptions& options_;
};

FileStatistics compute(const std::string& path, const StatisticsOptions& options) {
  detail::RowBlocks blocks(path, options.threads);
  FileStatistics result;
  const auto columns = chosen_columns(blocks.file(), options, result.notes);
  for (const auto& column : columns) {
    auto counted = detail::count_column(blocks, column, options.bins);
    result.columns.push_back(std::move(counted.statistics));
    if (column.name != options.targets || !are_labels(column)) continue;
    for (const auto& [label, rows] : counted.values) {
      result.classes.push_back({.label = label, .rows = rows, .inputs = std::nullopt});
    }
    if (counted.values.empty() && column.rows() > 0) {
      result.notes.push_back("classes of dataset " + base::quote(column.name) +
                             " were not counted (its labels span more than 65,536 numbers)");
    }
  }
  if (options.per_class == StatisticsOptions::PerClass::kInputs) {
    result.classes = PerClass(blocks, options)();
  }
  return result;
}

std::string key_of(const std::string& fingerprint, const StatisticsOptions& options) {
  Json key;
  key["version"] = kVersion;
  key["fingerprint"] = fingerprint;
  key["columns"] = options.columns;
  key["inputs"] = options.inputs;
  key["targets"] = options.targets;
  key["per_class"] = options.per_class == StatisticsOptions::PerClass::kInputs;
  key["bins"] = options.bins;
  return key.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json json_of(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

Json json_of(const ColumnStatistics& column) {
  Json json;
  json["name"] = column.name;
  json["dtype"] = name_of(column.dtype);
  json["shape"] = column.shape;
  json["elements"] = column.elements;
  json["nan"] = column.nans;
  json["inf"] = column.infinities;
  json["zeros"] = column.zeros;
  json["min"] = json_of(column.smallest);
  json["max"] = json_of(column.largest);
  json["mean"] = column.overall ? Json(column.overall->mean) : Json();
  json["std"] = column.overall ? Json(column.overall->deviation) : Json();
  json["std_kind"] = "population";
  json["quantiles"] = Json::array();
  for (std::size_t i = 0; i < column.quantiles.size(); ++i) {
    json["quantiles"].push_back({{"at", kQuantiles[i]}, {"value", column.quantiles[i]}});
  }
  json["histogram"] = {{"low", column.histogram.low},
                       {"high", column.histogram.high},
                       {"counts", column.histogram.counts}};
  json["channels"] = Json::array();
  for (const auto& channel : column.channels) {
    json["channels"].push_back({{"mean", channel.mean}, {"std", channel.deviation}});
  }
  return json;
}

Json json_of(const FileStatistics& statistics) {
  Json json;
  json["path"] = statistics.path;
  json["fingerprint"] = statistics.fingerprint;
  json["columns"] = Json::array();
  for (const auto& column : statistics.columns) json["columns"].push_back(json_of(column));
  json["classes"] = Json::array();
  for (const auto& entry : statistics.classes) {
    Json one{{"label", entry.label}, {"rows", entry.rows}};
    if (entry.inputs) {
      one["mean"] = entry.inputs->mean;
      one["std"] = entry.inputs->deviation;
    }
    json["classes"].push_back(std::move(one));
  }
  json["notes"] = statistics.notes;
  return json;
}

/// The type of that name. Throws Json::exception for no such name, as a damaged entry has.
DType dtype_named(const Json& name) {
  for (auto type = 0; type < static_cast<int>(DType::kUnsupported); ++type) {
    if (name == name_of(static_cast<DType>(type))) return static_cast<DType>(type);
  }
  return DType::kUnsupported;
}

std::optional<double> number_of(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

ColumnStatistics column_of(const Json& json) {
  ColumnStatistics column;
  column.name = json.at("name");
  column.dtype = dtype_named(json.at("dtype"));
  column.shape = json.at("shape").get<std::vector<std::int64_t>>();
  column.elements = json.at("elements");
  column.nans = json.at("nan");
  column.infinities = json.at("inf");
  column.zeros = json.at("zeros");
  column.smallest = number_of(json.at("min"));
  column.largest = number_of(json.at("max"));
  if (column.smallest) column.overall = {json.at("mean"), json.at("std")};
  for (const auto& quantile : json.at("quantiles"))
    column.quantiles.push_back(quantile.at("value"));
  const auto& histogram = json.at("histogram");
  column.histogram = {histogram.at("low"), histogram.at("high"),
                      histogram.at("counts").get<std::vector<std::int64_t>>()};
  for (const auto& channel : json.at("channels")) {
    column.channels.push_back({channel.at("mean"), channel.at("std")});
  }
  return column;
}

/// What `json_of` made; nothing when it is something else.
std::optional<FileStatistics> statistics_of(const std::string& text) {
  try {
    const auto json = Json::parse(text);
    FileStatistics statistics;
    for (const auto& column : json.at("columns")) statistics.columns.push_back(column_of(column));
    for (const auto& entry : json.at("classes")) {
      statistics.classes.push_back(
          {.label = entry.at("label"), .rows = entry.at("rows"), .inputs = std::nullopt});
      if (entry.contains("mean")) {
        statistics.classes.back().inputs = {entry.at("mean"), entry.at("std")};
      }
    }
    statistics.notes = json.at("notes").get<std::vector<std::string>>();
    return statistics;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

FileStatistics statistics(const std::string& path, const StatisticsOptions& options) {
  check(options);
  const ResultCache cache(options.cache_directory);
  std::string digest;
  if (!options.cache_directory.empty()) {
    digest =
        fingerprint(path, {.threads = options.threads, .cache_directory = options.cache_directory});
  }
  const auto key = key_of(digest, options);
  auto known = digest.empty() ? std::nullopt : cache.load(kKind, key);
  auto result = known ? statistics_of(*known) : std::nullopt;
  if (!result) {
    result = compute(path, options);
    if (!digest.empty()) {
      cache.store(kKind, key,
                  json_of(*result).dump(-1, ' ', false, Json::error_handler_t::replace));
    }
  }
  result->path = path;
  result->fingerprint = digest;
  return *std::move(result);
}

std::vector<MeanAndDeviation> input_scaling_of(const ColumnStatistics& inputs) {
  auto scaling = inputs.channels;
  if (scaling.empty() && inputs.overall) scaling.push_back(*inputs.overall);
  const double scale = inputs.dtype == DType::kU8 ? 1.0 / 255.0 : 1.0;
  for (auto& channel : scaling) {
    channel.mean *= scale;
    channel.deviation = channel.deviation > 0 ? channel.deviation * scale : 1.0;
  }
  return scaling;
}

std::string to_json(const FileStatistics& statistics) {
  return json_of(statistics).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lockstep::data
