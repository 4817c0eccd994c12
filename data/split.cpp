#include "data/split.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/dataset_writer.hpp"
#include "data/elements.hpp"
#include "data/fingerprint.hpp"
#include "data/permutation.hpp"
#include "data/row_scan.hpp"

namespace lockstep::data {
namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{8} << 20;
constexpr double kSumTolerance = 1e-12;
constexpr std::size_t kMostParts = 64;

bool is_readable(const ColumnInfo& column) {
  return column.dtype != DType::kUnsupported && !column.shape.empty() && column.row_elements() > 0;
}

std::string fractions_text(const std::vector<SplitPart>& parts) {
  std::vector<std::string> texts;
  for (const auto& part : parts) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), part.fraction).ptr;
    texts.push_back(part.name + "=" + std::string(digits.data(), end));
  }
  return base::joined(texts, ",");
}

void check_parts(const std::vector<SplitPart>& parts) {
  double sum = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& part = parts[i];
    const bool twice = std::any_of(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(i),
                                   [&](const SplitPart& other) { return other.name == part.name; });
    if (part.name.empty() || part.name.find('/') != std::string::npos || twice) {
      throw base::ConfigError("part " + base::quote(part.name) +
                              " cannot be made (names are not empty, have no slash and occur "
                              "once); write for example --parts train=0.9,test=0.1");
    }
    if (!(part.fraction > 0) || part.fraction > 1) {
      throw base::ConfigError("part " + base::quote(part.name) + " has the fraction " +
                              std::to_string(part.fraction) +
                              " (fractions are above 0 and at most 1); give another one");
    }
    sum += part.fraction;
  }
  if (std::abs(sum - 1) > kSumTolerance || parts.size() > kMostParts) {
    throw base::ConfigError("the fractions of " + base::quote(fractions_text(parts)) + " sum to " +
                            std::to_string(sum) +
                            " (every row goes to one of at most 64 parts, so they sum to 1); "
                            "change one of them");
  }
}

std::string part_path(const SplitOptions& options, const std::string& name) {
  return options.output_prefix + "-" + name + ".h5";
}

/// One part's rows of one column on their way to its file.
class PartBuffer {
 public:
  PartBuffer(DatasetWriter& writer, const ColumnInfo& column, std::int64_t rows)
      : writer_(writer), name_(column.name) {
    auto shape = column.shape;
    shape[0] = rows;
    writer_.add_column(name_, column.dtype, shape);
  }
  void add(std::span<const std::byte> row) {
    bytes_.insert(bytes_.end(), row.begin(), row.end());
    ++rows_;
    if (bytes_.size() >= kBlockBytes) flush();
  }
  void flush() {
    if (rows_ > 0) writer_.write_rows(name_, written_, rows_, bytes_);
    written_ += rows_;
    rows_ = 0;
    bytes_.clear();
  }

 private:
  DatasetWriter& writer_;
  std::string name_;
  std::vector<std::byte> bytes_;
  std::int64_t rows_ = 0;
  std::int64_t written_ = 0;
};

class Splitting {
 public:
  Splitting(const std::string& path, const SplitOptions& options)
      : path_(path), options_(options), file_(path), counts_(options.parts.size(), 0) {}

  SplitResult operator()() {
    choose_columns();
    if (is_tokens()) {
      assign_runs();
    } else if (!options_.stratify.empty()) {
      assign_by_value();
    } else {
      std::vector<double> owed(counts_.size(), 0);
      assign(split_counts(rows_, options_.parts, owed), 0, rows_,
             [](std::int64_t row) { return row; });
    }
    for (std::size_t part = 0; part < counts_.size(); ++part) {
      if (counts_[part] > 0) continue;
      throw base::ConfigError("part " + base::quote(options_.parts[part].name) +
                              " would be empty (its fraction of " + std::to_string(rows_) +
                              " rows is less than one); give it a larger one");
    }
    write();
    return std::move(result_);
  }

 private:
  void choose_columns() {
    std::vector<std::string> names;
    for (const auto& column : file_.columns()) {
      if (is_readable(column)) {
        columns_.push_back(column);
        names.push_back(column.name);
        continue;
      }
      const auto what = "dataset " + base::quote(column.name) + " of " + base::quote(path_) +
                        " holds " + column.type_name +
                        (column.shape.empty() ? " without rows" : " elements");
      if (options_.unreadable == SplitOptions::Unreadable::kRefuse) {
        throw base::DataError(what +
                              " (rows of numbers are carried); leave it out with "
                              "--drop-unreadable");
      }
      result_.notes.push_back(what + ", it was left out");
    }
    rows_ = file_.rows(names);
    if (rows_ == 0) {
      throw base::DataError("data file " + base::quote(path_) +
                            " has no rows of numbers, so there is nothing to split; name another "
                            "file, or see 'lockstep data inspect'");
    }
  }

  bool is_tokens() const {
    return columns_.size() == 1 && columns_[0].name == options_.tokens &&
           columns_[0].shape.size() == 1 && is_integer(columns_[0].dtype) &&
           options_.stratify.empty();
  }

  void assign_runs() {
    std::vector<double> owed(counts_.size(), 0);
    counts_ = split_counts(rows_, options_.parts, owed);
    part_of_.reserve(static_cast<std::size_t>(rows_));
    for (std::size_t part = 0; part < counts_.size(); ++part) {
      part_of_.insert(part_of_.end(), static_cast<std::size_t>(counts_[part]),
                      static_cast<std::uint8_t>(part));
    }
  }

  /// Gives `rows` rows, the i-th of which is `row_of(i)`, to the parts.
  template <class RowOf>
  void assign(const std::vector<std::int64_t>& counts, std::int64_t stratum, std::int64_t rows,
              RowOf&& row_of) {
    part_of_.resize(static_cast<std::size_t>(rows_));
    const Permutation order(rows, options_.seed, stratum, Shuffle::kOn);
    std::int64_t position = 0;
    for (std::size_t part = 0; part < counts.size(); ++part) {
      counts_[part] += counts[part];
      for (std::int64_t i = 0; i < counts[part]; ++i) {
        part_of_[static_cast<std::size_t>(row_of(order.at(position++)))] =
            static_cast<std::uint8_t>(part);
      }
    }
  }

  void assign_by_value() {
    const auto& column = file_.column(options_.stratify);
    if (!is_integer(column.dtype) || column.shape.size() != 1) {
      throw base::DataError("dataset " + base::quote(column.name) + " of " + base::quote(path_) +
                            " cannot be stratified by (that takes integers, one a row); name "
                            "another one, or leave --stratify away");
    }
    std::map<std::int64_t, std::vector<std::int64_t>> rows_of;
    std::int64_t row = 0;
    detail::for_each_block(file_, column, kBlockBytes, [&](std::int64_t, auto raw) {
      detail::with_elements(column.dtype, raw, [&]<class T>(std::span<const T> elements) {
        if constexpr (std::is_integral_v<T>) {
          for (const T element : elements) rows_of[detail::to_i64(element)].push_back(row++);
        }
      });
    });
    std::vector<double> owed(counts_.size(), 0);
    std::int64_t stratum = 0;
    for (const auto& [value, rows] : rows_of) {
      const auto count = static_cast<std::int64_t>(rows.size());
      assign(split_counts(count, options_.parts, owed), stratum++, count,
             [&rows = rows](std::int64_t i) { return rows[static_cast<std::size_t>(i)]; });
    }
  }

  void write() {
    std::vector<std::unique_ptr<DatasetWriter>> writers;
    const auto source = fingerprint(path_);
    for (std::size_t part = 0; part < counts_.size(); ++part) {
      const auto& name = options_.parts[part].name;
      result_.parts.push_back(
          {.name = name, .path = part_path(options_, name), .rows = counts_[part]});
      std::error_code none;
      if (std::filesystem::equivalent(path_, result_.parts.back().path, none)) {
        throw base::ConfigError("output " + base::quote(result_.parts.back().path) +
                                " is the input itself; give another --output-prefix");
      }
      writers.push_back(std::make_unique<DatasetWriter>(result_.parts.back().path));
      auto& writer = *writers.back();
      writer.set_attribute("split_of", source);
      writer.set_attribute("split_part", name);
      writer.set_attribute("split_seed", std::to_string(options_.seed));
      writer.set_attribute("split_fractions", fractions_text(options_.parts));
      writer.set_attribute("split_stratify", options_.stratify);
    }
    for (const auto& column : columns_) write_column(column, writers);
    for (const auto& writer : writers) {
      auto notes = writer->copy_attributes(file_);
      // All parts leave out the same.
      if (writer == writers.front()) {
        std::move(notes.begin(), notes.end(), std::back_inserter(result_.notes));
      }
    }
    commit(writers);
  }

  /// One pass over the column, whose rows go to all parts at once.
  void write_column(const ColumnInfo& column,
                    const std::vector<std::unique_ptr<DatasetWriter>>& writers) {
    std::vector<PartBuffer> buffers;
    for (std::size_t part = 0; part < counts_.size(); ++part) {
      buffers.emplace_back(*writers[part], column, counts_[part]);
    }
    const auto row_bytes = column.row_bytes();
    std::size_t row = 0;
    detail::for_each_block(file_, column, kBlockBytes, [&](std::int64_t, auto raw) {
      for (std::size_t begin = 0; begin < raw.size(); begin += row_bytes) {
        buffers[part_of_[row++]].add(raw.subspan(begin, row_bytes));
      }
    });
    for (auto& buffer : buffers) buffer.flush();
  }

  void commit(std::vector<std::unique_ptr<DatasetWriter>>& writers) {
    std::size_t done = 0;
    try {
      for (; done < writers.size(); ++done) writers[done]->commit();
    } catch (...) {
      std::error_code none;
      for (std::size_t i = 0; i < done; ++i) std::filesystem::remove(result_.parts[i].path, none);
      throw;
    }
  }

  std::string path_;
  const SplitOptions& options_;
  DatasetFile file_;
  std::vector<ColumnInfo> columns_;
  std::int64_t rows_ = 0;
  std::vector<std::int64_t> counts_;   ///< [part]
  std::vector<std::uint8_t> part_of_;  ///< [rows]
  SplitResult result_;
};

}  // namespace

std::vector<SplitPart> parse_split_parts(const std::string& text) {
  std::vector<SplitPart> parts;
  for (const auto& word : base::split(text, ',')) {
    const auto equals = word.find('=');
    SplitPart part;
    const char* begin = word.data() + (equals == std::string::npos ? word.size() : equals + 1);
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(begin, end, part.fraction);
    if (error != std::errc() || stop != end) {
      throw base::ConfigError("parts " + base::quote(text) + " cannot be read at " +
                              base::quote(word) +
                              " (a part is a name, '=' and a fraction); write for example --parts "
                              "train=0.8,val=0.1,test=0.1");
    }
    part.name = word.substr(0, equals);
    parts.push_back(std::move(part));
  }
  check_parts(parts);
  return parts;
}

std::vector<std::int64_t> split_counts(std::int64_t count, const std::vector<SplitPart>& parts,
                                       std::vector<double>& owed) {
  std::vector<std::int64_t> counts;
  std::vector<std::size_t> open;  // parts whose share is no whole number
  std::int64_t left = count;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double share = static_cast<double>(count) * parts[i].fraction;
    const double nearest = std::round(share);
    // 0.1 of 30 rows is 3 rows, though not in binary.
    const bool whole = std::abs(share - nearest) < 1e-6;
    counts.push_back(static_cast<std::int64_t>(whole ? nearest : std::floor(share)));
    if (!whole) open.push_back(i);
    owed[i] += share - static_cast<double>(counts.back());
    left -= counts.back();
  }
  LOCKSTEP_EXPECT(left >= 0 && left <= static_cast<std::int64_t>(open.size()),
                  "fractions of a split do not sum to 1");
  std::stable_sort(open.begin(), open.end(),
                   [&](std::size_t a, std::size_t b) { return owed[a] > owed[b]; });
  for (std::size_t i = 0; i < static_cast<std::size_t>(left); ++i) {
    ++counts[open[i]];
    owed[open[i]] -= 1;
  }
  return counts;
}

SplitResult split(const std::string& path, const SplitOptions& options) {
  check_parts(options.parts);
  for (const auto& part : options.parts) {
    base::require_output_path(part_path(options, part.name));
  }
  return Splitting(path, options)();
}

}  // namespace lockstep::data
