#include "data/diff.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/digit_counts.hpp"
#include "data/drift.hpp"
#include "data/row_blocks.hpp"

namespace lockstep::data {
namespace {

using Bins = detail::DriftMeter::Bins;

std::string schema_of(const ColumnInfo& column) {
  std::vector<std::string> lengths;
  for (std::size_t i = 1; i < column.shape.size(); ++i) {
    lengths.push_back(std::to_string(column.shape[i]));
  }
  // Byte order and layout are no part of what a model sees.
  const auto type =
      column.dtype == DType::kUnsupported ? column.type_name : std::string(name_of(column.dtype));
  return column.shape.empty() ? type + " without rows" : type + " [" + base::joined(lengths) + "]";
}

std::int64_t elements_of(const ColumnInfo& column) { return column.rows() * column.row_elements(); }

/// A key that is the same for numbers that are: 0 and -0, and all NaN, which come last.
template <class T>
detail::Key<T> plain_key(T value) {
  if constexpr (detail::kIsFloat<T>) {
    const auto number = static_cast<double>(value);
    if (std::isnan(number)) return std::numeric_limits<detail::Key<T>>::max();
    if (number == 0) return detail::kTopBit<T>;
  }
  return detail::key_of(value);
}

template <class T>
std::span<const T> values_of(const detail::RowBlock& block) {
  return {reinterpret_cast<const T*>(block.raw.data()), block.raw.size() / sizeof(T)};
}

/// All keys of a column in ascending order.
template <class T>
std::vector<detail::Key<T>> sorted_keys(detail::RowBlocks& blocks, const ColumnInfo& column) {
  std::vector<detail::Key<T>> keys(static_cast<std::size_t>(elements_of(column)));
  blocks.scan(column, [&](const detail::RowBlock& block) {
    auto* out = keys.data() + block.begin * column.row_elements();
    for (const T value : values_of<T>(block)) *out++ = plain_key(value);
  });
  std::sort(keys.begin(), keys.end());
  return keys;
}

/// How often each leading digit of the keys occurs.
template <class T>
std::vector<std::int64_t> counted_digits(detail::RowBlocks& blocks, const ColumnInfo& column) {
  constexpr int kShift = detail::kKeyBits<T> - detail::kLeadingBits<T>;
  std::vector<std::vector<std::int64_t>> counts(static_cast<std::size_t>(blocks.threads()));
  blocks.scan(column, [&](const detail::RowBlock& block) {
    auto& mine = counts[static_cast<std::size_t>(block.worker)];
    mine.resize(detail::kDigits<T>);
    for (const T value : values_of<T>(block)) {
      ++mine[static_cast<std::size_t>(plain_key(value) >> kShift)];
    }
  });
  std::vector<std::int64_t> all(detail::kDigits<T>);
  for (const auto& mine : counts) {
    for (std::size_t i = 0; i < mine.size(); ++i) all[i] += mine[i];
  }
  return all;
}

template <class T>
Drift drift_of_digits(detail::RowBlocks& first, const ColumnInfo& in_first,
                      detail::RowBlocks& second, const ColumnInfo& in_second, Bins bins) {
  const auto a = counted_digits<T>(first, in_first);
  const auto b = counted_digits<T>(second, in_second);
  const auto elements = static_cast<double>(elements_of(in_first));
  const auto other_elements = static_cast<double>(elements_of(in_second));
  detail::DriftMeter meter(elements_of(in_first), elements_of(in_second), bins);
  double uncertainty = 0;
  for (std::size_t digit = 0; digit < a.size(); ++digit) {
    if (a[digit] == 0 && b[digit] == 0) continue;
    meter.add(a[digit], b[digit]);
    // Inside a digit one function may rise before the other one does.
    uncertainty = std::max({uncertainty, static_cast<double>(a[digit]) / elements,
                            static_cast<double>(b[digit]) / other_elements});
  }
  auto drift = meter.finish();
  if constexpr (detail::kKeyBits < T >> detail::kLeadingBits<T>) drift.uncertainty = uncertainty;
  return drift;
}

template <class T>
Drift drift_of_keys(detail::RowBlocks& first, const ColumnInfo& in_first, detail::RowBlocks& second,
                    const ColumnInfo& in_second, Bins bins) {
  const auto a = sorted_keys<T>(first, in_first);
  const auto b = sorted_keys<T>(second, in_second);
  detail::DriftMeter meter(elements_of(in_first), elements_of(in_second), bins);
  auto from_a = a.begin();
  auto from_b = b.begin();
  while (from_a != a.end() || from_b != b.end()) {
    const auto key =
        from_b == b.end() || (from_a != a.end() && *from_a < *from_b) ? *from_a : *from_b;
    const auto is_other = [key](auto other) { return other != key; };
    const auto end_a = std::find_if(from_a, a.end(), is_other);
    const auto end_b = std::find_if(from_b, b.end(), is_other);
    meter.add(end_a - from_a, end_b - from_b);
    from_a = end_a;
    from_b = end_b;
  }
  return meter.finish();
}

class Comparison {
 public:
  Comparison(const std::string& first, const std::string& second, const DiffOptions& options)
      : options_(options), first_(first, options.threads), second_(second, options.threads) {}

  std::vector<ColumnDifference> operator()() {
    std::vector<ColumnDifference> differences;
    for (const auto& column : first_.file().columns()) {
      const auto* other = second_.file().find_column(column.name);
      ColumnDifference difference;
      difference.name = column.name;
      difference.first_schema = schema_of(column);
      difference.first_rows = column.rows();
      if (other == nullptr) {
        difference.presence = ColumnDifference::Presence::kFirst;
      } else {
        difference.second_schema = schema_of(*other);
        difference.second_rows = other->rows();
        difference.drift = drift_of(column, *other);
      }
      differences.push_back(std::move(difference));
    }
    for (const auto& column : second_.file().columns()) {
      if (first_.file().find_column(column.name) != nullptr) continue;
      ColumnDifference difference;
      difference.name = column.name;
      difference.presence = ColumnDifference::Presence::kSecond;
      difference.second_schema = schema_of(column);
      difference.second_rows = column.rows();
      differences.push_back(std::move(difference));
    }
    return differences;
  }

 private:
  std::optional<Drift> drift_of(const ColumnInfo& column, const ColumnInfo& other) {
    if (column.dtype == DType::kUnsupported || column.dtype != other.dtype ||
        column.shape.empty() || other.shape.empty() || elements_of(column) == 0 ||
        elements_of(other) == 0) {
      return std::nullopt;
    }
    const bool are_classes = column.name == options_.targets && is_integer(column.dtype);
    const auto bins = are_classes ? Bins::kValues : Bins::kQuantiles;
    const bool exact = std::max(elements_of(column), elements_of(other)) <= options_.exact_elements;
    return detail::with_elements(column.dtype, {}, [&]<class T>(std::span<const T>) {
      if constexpr (detail::kKeyBits<T> <= detail::kLeadingBits<T>) {
        return drift_of_digits<T>(first_, column, second_, other, bins);
      } else {
        return exact ? drift_of_keys<T>(first_, column, second_, other, bins)
                     : drift_of_digits<T>(first_, column, second_, other, bins);
      }
    });
  }

  const DiffOptions& options_;
  detail::RowBlocks first_;
  detail::RowBlocks second_;
};

void check(const DiffOptions& options) {
  if (!(options.most_psi >= 0) || !(options.most_ks >= 0)) {
    throw base::ConfigError("thresholds --psi " + std::to_string(options.most_psi) + " and --ks " +
                            std::to_string(options.most_ks) +
                            " cannot be compared with (they are 0 or more); give other numbers");
  }
}

}  // namespace

bool FileDifference::has_drifted(const ColumnDifference& column) const {
  return column.drift && (column.drift->psi > most_psi || column.drift->ks > most_ks);
}

bool FileDifference::is_good() const {
  return std::all_of(columns.begin(), columns.end(), [&](const ColumnDifference& column) {
    return column.same_schema() && !has_drifted(column);
  });
}

FileDifference diff(const std::string& first, const std::string& second,
                    const DiffOptions& options) {
  check(options);
  FileDifference difference;
  difference.first = first;
  difference.second = second;
  difference.most_psi = options.most_psi;
  difference.most_ks = options.most_ks;
  difference.columns = Comparison(first, second, options)();
  return difference;
}

std::string to_json(const FileDifference& difference) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["first"] = difference.first;
  json["second"] = difference.second;
  json["good"] = difference.is_good();
  json["most_psi"] = difference.most_psi;
  json["most_ks"] = difference.most_ks;
  json["columns"] = Json::array();
  for (const auto& column : difference.columns) {
    Json one;
    one["name"] = column.name;
    one["first_schema"] = column.first_schema.empty() ? Json() : Json(column.first_schema);
    one["second_schema"] = column.second_schema.empty() ? Json() : Json(column.second_schema);
    one["first_rows"] = column.first_rows;
    one["second_rows"] = column.second_rows;
    one["psi"] = column.drift ? Json(column.drift->psi) : Json();
    one["ks"] = column.drift ? Json(column.drift->ks) : Json();
    one["uncertainty"] = column.drift ? Json(column.drift->uncertainty) : Json();
    one["good"] = column.same_schema() && !difference.has_drifted(column);
    json["columns"].push_back(std::move(one));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lockstep::data
