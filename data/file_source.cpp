#include "data/file_source.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/vector_clones.hpp"
#include "data/elements.hpp"
#include "data/row_scan.hpp"
#include "data/shape_text.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kScanBytes = std::int64_t{1} << 20;
/// A label beyond this is no class number.
constexpr std::int64_t kMostClasses = std::int64_t{1} << 31;
constexpr std::int64_t kByteVocabulary = 256;

std::vector<std::int64_t> sample_shape(const ColumnInfo& column) {
  return {column.shape.begin() + 1, column.shape.end()};
}

/// Copies one row; false when an element is NaN or infinite. One pass, because memory is what it
/// waits for.
LOCKSTEP_VECTOR_CLONES
bool copy_finite(const float* row, std::size_t elements, float* out) {
  constexpr std::int32_t kMagnitude = 0x7fffffff;
  constexpr std::int32_t kInfinity = 0x7f800000;
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < elements; ++i) {
    const float value = row[i];
    // Magnitudes are ordered as their bits are, infinity and NaN above all numbers.
    largest = std::max(largest, std::bit_cast<std::int32_t>(value) & kMagnitude);
    out[i] = value;
  }
  return largest < kInfinity;
}

void to_labels(DType dtype, std::span<const std::byte> raw, std::span<std::int64_t> labels) {
  with_elements(dtype, raw, [&]<class T>(std::span<const T> elements) {
    if constexpr (std::is_integral_v<T>) {
      std::transform(elements.begin(), elements.end(), labels.begin(), to_i64<T>);
    }
  });
}

void to_floats(DType dtype, std::span<const std::byte> raw, std::span<float> values) {
  with_elements(dtype, raw, [&]<class T>(std::span<const T> elements) {
    std::transform(elements.begin(), elements.end(), values.begin(),
                   [](T value) { return static_cast<float>(value); });
  });
}

}  // namespace

FileSource::FileSource(const std::string& path, const SourceOptions& options)
    : path_(path),
      options_(options),
      file_(path,
            {.cache_bytes = options.cache_bytes, .cache_directory = options.cache_directory}) {
  info_.kind = decide_kind();
  if (info_.kind == TaskKind::kTokens) {
    describe_tokens();
    return;
  }
  describe_inputs();
  if (info_.kind == TaskKind::kClassification || options_.one_hot == OneHot::kOn) {
    describe_classes();
  } else {
    describe_values();
  }
}

void FileSource::set_classes(std::int64_t classes) {
  info_.classes = classes;
  if (options_.one_hot == OneHot::kOn) info_.target_shape = {classes};
}

std::string FileSource::described(const ColumnInfo& column) const {
  return "dataset " + base::quote(column.name) + " of " + base::quote(path_);
}

TaskKind FileSource::decide_kind() const {
  if (options_.one_hot == OneHot::kOn) return TaskKind::kRegression;
  if (options_.kind && *options_.kind == TaskKind::kTokens) return TaskKind::kTokens;
  const bool has_samples =
      file_.find_column(options_.inputs) && file_.find_column(options_.targets);
  if (!options_.kind && !has_samples && file_.find_column(options_.tokens))
    return TaskKind::kTokens;
  file_.column(options_.inputs);
  const auto& column = file_.column(options_.targets);
  if (options_.kind) return *options_.kind;
  if (!is_float(column.dtype)) return TaskKind::kClassification;
  if (options_.classes > 0) {
    throw base::ConfigError(described(column) + " holds " + column.type_name +
                            " elements and model.classes is " + std::to_string(options_.classes) +
                            " (classes are integers, floats are values for a regression); store "
                            "class numbers from 0 as integers, or leave model.classes out to learn "
                            "the values");
  }
  return TaskKind::kRegression;
}

void FileSource::need_rows(const ColumnInfo& column) const {
  if (column.dtype == DType::kUnsupported) {
    throw base::DataError(described(column) + " holds " + column.type_name +
                          " elements (only integers and floats of 8 to 64 bits can be read); "
                          "store it as such numbers");
  }
  if (column.rows() == 0) {
    throw base::DataError(described(column) + " has no rows (shape " + shape_text(column.shape) +
                          "); make the file again with at least one sample");
  }
}

void FileSource::describe_inputs() {
  const auto& column = file_.column(options_.inputs);
  need_rows(column);
  if (column.shape.size() < 2 || column.row_elements() == 0) {
    throw base::DataError(described(column) + " has shape " + shape_text(column.shape) +
                          " (each sample needs a row of values); store inputs as [rows, "
                          "features] or [rows, channels, height, width]");
  }
  const std::vector<std::string> names{options_.inputs, options_.targets};
  info_.samples = file_.rows(names);
  info_.input_shape = sample_shape(column);
  inputs_ = &column;
  scaling_ = InputScaling(options_, column);
  if (options_.augmentation.moves_pixels() && !is_image(info_.input_shape)) {
    throw base::ConfigError("data.augment moves pixels, and the samples of " + described(column) +
                            " have shape " + shape_text(info_.input_shape) +
                            " (an image is [height, width] or [channels, height, width]); leave "
                            "flips, crop_padding and cutout at 0, or store images");
  }
  augmentation_ = Augmentation(options_.augmentation, info_.input_shape, size_of(column.dtype));
  moved_.resize(augmentation_.moves_pixels() ? column.row_bytes() : 0);
}

void FileSource::describe_classes() {
  const auto& column = file_.column(options_.targets);
  need_rows(column);
  if (!is_integer(column.dtype)) {
    throw base::DataError(described(column) + " holds " + column.type_name +
                          " elements (classes are integers); store class numbers from 0");
  }
  if (column.row_elements() != 1) {
    throw base::DataError(described(column) + " has shape " + shape_text(column.shape) +
                          " (integer targets are one class a sample); store class numbers as "
                          "[rows], or floats for regression");
  }
  targets_ = &column;
  info_.classes = largest_label(column) + 1;
  if (options_.classes > 0) info_.classes = options_.classes;
  if (options_.one_hot == OneHot::kOn) info_.target_shape = {info_.classes};
}

void FileSource::describe_values() {
  const auto& column = file_.column(options_.targets);
  need_rows(column);
  if (column.row_elements() == 0) {
    throw base::DataError(described(column) + " has shape " + shape_text(column.shape) +
                          " (targets without values); store targets as [rows] or [rows, "
                          "outputs]");
  }
  targets_ = &column;
  info_.target_shape = sample_shape(column);
}

void FileSource::describe_tokens() {
  const auto& column = file_.column(options_.tokens);
  need_rows(column);
  if (!is_integer(column.dtype) || column.shape.size() != 1) {
    throw base::DataError(described(column) + " holds " + column.type_name + " of shape " +
                          shape_text(column.shape) +
                          " (tokens are one long row of integers); store it as [tokens]");
  }
  if (options_.context < 1) {
    throw base::ConfigError("context " + std::to_string(options_.context) +
                            " is impossible for token data; set model.context to 1 or more");
  }
  if (options_.augmentation.any()) {
    throw base::ConfigError("data.augment is given and " + described(column) +
                            " holds tokens (only inputs are augmented); remove it, or use "
                            "data.token_windows: shifted");
  }
  info_.samples = window_count(column.rows(), options_.context, options_.token_windows);
  if (info_.samples < 1) {
    const bool fixed = options_.token_windows == TokenWindows::kFixed;
    const auto least = fixed ? options_.context + 1 : 2 * options_.context;
    throw base::DataError(
        described(column) + " has " + std::to_string(column.rows()) + " tokens (one sample needs " +
        (fixed ? "context + 1 = " : "for all its shifts 2 * context = ") + std::to_string(least) +
        "); give more tokens, or a smaller model.context");
  }
  info_.input_shape = info_.target_shape = {options_.context};
  targets_ = &column;
  if (options_.classes > 0) {
    info_.classes = options_.classes;
  } else if (column.dtype == DType::kU8) {
    info_.classes = kByteVocabulary;
  } else {
    info_.classes = largest_label(column) + 1;
  }
}

void FileSource::refuse_label(const ColumnInfo& column, std::int64_t row,
                              std::int64_t label) const {
  const std::string kind = info_.kind == TaskKind::kTokens ? "token " : "label ";
  const auto limit = options_.classes > 0 ? options_.classes : kMostClasses;
  throw base::DataError(
      described(column) + " has " + kind + std::to_string(label) + " in row " +
      std::to_string(row) +
      (label < 0 ? " (they count from 0)"
                 : " (it is not below " + std::to_string(limit) +
                       (options_.classes > 0 ? ", the number of classes)" : ")")) +
      "; " +
      (label < 0 || options_.classes == 0 ? "renumber them from 0"
                                          : "correct the data, or raise the number of classes"));
}

/// Reads all labels. Throws for the first one that no model could have.
std::int64_t FileSource::largest_label(const ColumnInfo& column) {
  const auto limit = options_.classes > 0 ? options_.classes : kMostClasses;
  std::int64_t largest = 0;
  for_each_block(file_, column, kScanBytes, [&](std::int64_t begin, auto raw) {
    labels_.resize(raw.size() / column.row_bytes());
    to_labels(column.dtype, raw, labels_);
    const auto [low, high] = std::minmax_element(labels_.begin(), labels_.end());
    const auto bad = *low < 0 ? low : high;
    if (*low < 0 || *high >= limit) refuse_label(column, begin + (bad - labels_.begin()), *bad);
    largest = std::max(largest, *high);
  });
  // A scan takes more room than a batch ever will.
  labels_ = {};
  return largest;
}

template <class RowOf>
void FileSource::check_labels(std::span<const std::int64_t> values, const RowOf& row_of) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= info_.classes) refuse_label(*targets_, row_of(i), values[i]);
  }
}

void FileSource::read(const Picked& picked, Batch& batch, ReadFor use) {
  switch (info_.kind) {
    case TaskKind::kClassification: read_labelled(picked, batch, use); break;
    case TaskKind::kRegression:
      read_inputs(picked, batch, use, {});
      options_.one_hot == OneHot::kOn ? read_one_hot(picked, batch) : read_values(picked, batch);
      break;
    case TaskKind::kTokens: read_tokens(picked, batch, use); break;
  }
}

void FileSource::read_labelled(const Picked& picked, Batch& batch, ReadFor use) {
  raw_.resize(picked.samples.size() * targets_->row_bytes());
  // What a mapped file lost is noticed once the inputs are read: labels go with mapped ones only.
  const bool mapped = file_.access_of(inputs_->name) == RowAccess::kMapped &&
                      file_.access_of(targets_->name) == RowAccess::kMapped;
  const auto labels_at = mapped ? file_.places_of(targets_->name) : std::nullopt;
  if (labels_at) {
    read_inputs(picked, batch, use, LabelsBeside(*labels_at, picked.samples, raw_));
  } else {
    read_inputs(picked, batch, use, {});
    file_.read_rows(targets_->name, picked.samples, raw_);
  }
  take_classes(picked, batch.classes);
}

void FileSource::read_inputs(const Picked& picked, Batch& batch, ReadFor use,
                             const LabelsBeside& labels) {
  const auto elements = static_cast<std::size_t>(inputs_->row_elements());
  const auto row_bytes = inputs_->row_bytes();
  const bool training = use == ReadFor::kTraining;
  const bool moves = training && augmentation_.moves_pixels();
  const bool noise = training && augmentation_.adds_noise();
  const bool floats = is_float(inputs_->dtype);
  const bool as_stored = !moves && scaling_.is_identity() && inputs_->dtype == DType::kF32;
  bool finite = true;
  file_.visit_rows(inputs_->name, picked.samples, [&](std::size_t i, const std::byte* row) {
    labels.take(i);
    const auto place = picked.places[i];
    const auto out = std::span(batch.inputs).subspan(place * elements, elements);
    if (as_stored) {
      finite &= copy_finite(reinterpret_cast<const float*>(row), elements, out.data());
    } else if (!moves || floats) {
      // Of floats all are checked, before some may be cropped away.
      scaling_.apply(inputs_->dtype, {row, row_bytes}, out);
      if (floats) finite &= !first_not_finite(out);
    }
    if (!moves && !noise) return;
    const SampleKey key{.seed = options_.seed, .epoch = batch.epoch, .sample = batch.rows[place]};
    if (moves) {
      augmentation_.apply({row, row_bytes}, moved_, key);
      scaling_.apply(inputs_->dtype, moved_, out);
    }
    if (noise) augmentation_.add_noise(out, key);
  });
  if (!finite) refuse_not_finite(*inputs_, picked.samples);
}

/// Finds what is not finite; one of the rows has it.
void FileSource::refuse_not_finite(const ColumnInfo& column, std::span<const std::int64_t> rows) {
  std::vector<float> values(static_cast<std::size_t>(column.row_elements()));
  raw_.resize(column.row_bytes());
  for (const auto row : rows) {
    file_.read_rows(column.name, row, 1, raw_);
    if (&column == inputs_) {
      scaling_.apply(column.dtype, raw_, values);
    } else {
      to_floats(column.dtype, raw_, values);
    }
    const auto bad = first_not_finite(values);
    if (!bad) continue;
    throw base::DataError(described(column) + " has " + std::to_string(values[*bad]) + " in row " +
                          std::to_string(row) + ", element " + std::to_string(*bad) +
                          " (as f32, after scaling; one such value spoils the whole model); "
                          "remove or replace it");
  }
  throw base::DataError(described(column) +
                        " has values that are not finite in one reading and finite in the next "
                        "(the file is being changed); leave data files alone while they are used");
}

/// Checks the labels in `raw_`.
void FileSource::take_classes(const Picked& picked, std::span<std::int64_t> classes) {
  labels_.resize(picked.samples.size());
  to_labels(targets_->dtype, raw_, labels_);
  check_labels(labels_, [&](std::size_t i) { return picked.samples[i]; });
  for (std::size_t i = 0; i < labels_.size(); ++i) classes[picked.places[i]] = labels_[i];
}

void FileSource::read_one_hot(const Picked& picked, Batch& batch) {
  std::vector<std::int64_t> classes(static_cast<std::size_t>(batch.samples));
  raw_.resize(picked.samples.size() * targets_->row_bytes());
  file_.read_rows(targets_->name, picked.samples, raw_);
  take_classes(picked, classes);
  const auto width = static_cast<std::size_t>(info_.classes);
  for (const auto place : picked.places) {
    const auto row = std::span(batch.values).subspan(place * width, width);
    std::fill(row.begin(), row.end(), 0.0f);
    row[static_cast<std::size_t>(classes[place])] = 1;
  }
}

void FileSource::read_values(const Picked& picked, Batch& batch) {
  const auto elements = static_cast<std::size_t>(targets_->row_elements());
  const auto row_bytes = targets_->row_bytes();
  bool finite = true;
  file_.visit_rows(targets_->name, picked.samples, [&](std::size_t i, const std::byte* row) {
    const auto out = std::span(batch.values).subspan(picked.places[i] * elements, elements);
    to_floats(targets_->dtype, {row, row_bytes}, out);
    finite &= !first_not_finite(out);
  });
  if (!finite) refuse_not_finite(*targets_, picked.samples);
}

void FileSource::read_tokens(const Picked& picked, Batch& batch, ReadFor use) {
  const bool shifts = use == ReadFor::kTraining && options_.token_windows == TokenWindows::kShifted;
  const auto shift = shifts ? window_shift(options_.seed, batch.epoch, options_.context) : 0;
  const auto context = static_cast<std::size_t>(options_.context);
  by_position_.clear();
  for (std::size_t i = 0; i < picked.samples.size(); ++i) {
    by_position_.emplace_back(picked.samples[i], picked.places[i]);
  }
  std::sort(by_position_.begin(), by_position_.end());
  raw_.resize((context + 1) * targets_->row_bytes());
  window_.resize(context + 1);
  for (const auto& [sample, place] : by_position_) {
    const auto begin = sample * options_.context + shift;
    file_.read_rows(targets_->name, begin, options_.context + 1, raw_);
    to_labels(targets_->dtype, raw_, window_);
    check_labels(window_, [&](std::size_t i) { return begin + static_cast<std::int64_t>(i); });
    const auto to = static_cast<std::ptrdiff_t>(place * context);
    std::copy_n(window_.begin(), context, batch.tokens.begin() + to);
    std::copy_n(window_.begin() + 1, context, batch.classes.begin() + to);
  }
}

std::vector<FileSource::CachedColumn> FileSource::cached_columns() const {
  std::vector<CachedColumn> cached;
  for (const auto* column : {inputs_, targets_}) {
    if (column == nullptr) continue;
    if (const auto bytes = file_.whole_cache_bytes(column->name); bytes > 0) {
      cached.push_back({column->name, bytes});
    }
  }
  return cached;
}

BringSamples FileSource::ahead() {
  auto targets = file_.ahead(targets_->name);
  if (info_.kind == TaskKind::kTokens) {
    if (!targets) return {};
    return [targets, context = options_.context, seed = options_.seed,
            windows = options_.token_windows,
            ends = std::vector<std::int64_t>()](auto samples, std::int64_t epoch) mutable {
      const bool shifts = windows == TokenWindows::kShifted;
      const auto shift = shifts ? window_shift(seed, epoch, context) : 0;
      ends.clear();
      for (const auto sample : samples) {
        ends.push_back(sample * context + shift);
        ends.push_back(ends.back() + context);
      }
      targets(ends);
    };
  }
  auto inputs = file_.ahead(inputs_->name);
  if (!inputs && !targets) return {};
  return [inputs, targets](std::span<const std::int64_t> samples, std::int64_t /*epoch*/) {
    if (inputs) inputs(samples);
    if (targets) targets(samples);
  };
}

std::int64_t FileSource::chunk_rows() const {
  const auto& column = inputs_ != nullptr ? *inputs_ : *targets_;
  return column.chunk.empty() ? 0 : column.chunk.front();
}

}  // namespace lockstep::data::detail
