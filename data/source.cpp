#include "data/source.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/dataset_file.hpp"
#include "data/elements.hpp"
#include "data/fingerprint.hpp"
#include "data/input_scaling.hpp"

namespace lockstep::data {
namespace {

constexpr std::int64_t kScanBytes = std::int64_t{1} << 20;
/// A label beyond this is no class number.
constexpr std::int64_t kMostClasses = std::int64_t{1} << 31;
constexpr std::int64_t kByteVocabulary = 256;

std::string shape_text(std::span<const std::int64_t> shape) {
  std::vector<std::string> parts;
  for (const auto length : shape) parts.push_back(std::to_string(length));
  return "[" + base::joined(parts) + "]";
}

std::vector<std::int64_t> sample_shape(const ColumnInfo& column) {
  return {column.shape.begin() + 1, column.shape.end()};
}

}  // namespace

struct SampleSource::State {
  explicit State(SourceOptions source_options)
      : options(std::move(source_options)), file(options.path) {
    info.kind = decide_kind();
    if (info.kind == TaskKind::kTokens) {
      describe_tokens();
    } else {
      describe_inputs();
      if (info.kind == TaskKind::kClassification || options.one_hot == OneHot::kOn) {
        describe_classes();
      } else {
        describe_values();
      }
    }
    if (options.fingerprinting == Fingerprinting::kWholeFile) {
      info.fingerprint = fingerprint(options.path);
    }
  }

  std::string described(const ColumnInfo& column) const {
    return "dataset " + base::quote(column.name) + " of " + base::quote(options.path);
  }

  TaskKind decide_kind() const {
    if (options.one_hot == OneHot::kOn) return TaskKind::kRegression;
    if (options.kind && *options.kind == TaskKind::kTokens) return TaskKind::kTokens;
    const bool has_samples = file.find_column(options.inputs) && file.find_column(options.targets);
    if (!options.kind && !has_samples && file.find_column(options.tokens)) return TaskKind::kTokens;
    file.column(options.inputs);
    const auto& column = file.column(options.targets);
    if (options.kind) return *options.kind;
    return is_float(column.dtype) ? TaskKind::kRegression : TaskKind::kClassification;
  }

  void need_rows(const ColumnInfo& column) const {
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

  void describe_inputs() {
    const auto& column = file.column(options.inputs);
    need_rows(column);
    if (column.shape.size() < 2 || column.row_elements() == 0) {
      throw base::DataError(described(column) + " has shape " + shape_text(column.shape) +
                            " (each sample needs a row of values); store inputs as [rows, "
                            "features] or [rows, channels, height, width]");
    }
    const std::vector<std::string> names{options.inputs, options.targets};
    info.samples = file.rows(names);
    info.input_shape = sample_shape(column);
    inputs = &column;
    scaling = detail::InputScaling(options, column);
    if (options.augmentation.moves_pixels() && !is_image(info.input_shape)) {
      throw base::ConfigError("data.augment moves pixels, and the samples of " + described(column) +
                              " have shape " + shape_text(info.input_shape) +
                              " (an image is [height, width] or [channels, height, width]); leave "
                              "flips, crop_padding and cutout at 0, or store images");
    }
    augmentation = Augmentation(options.augmentation, info.input_shape, size_of(column.dtype));
    moved.resize(augmentation.moves_pixels() ? column.row_bytes() : 0);
  }

  void describe_classes() {
    const auto& column = file.column(options.targets);
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
    targets = &column;
    info.classes = largest_label(column) + 1;
    if (options.classes > 0) info.classes = options.classes;
    if (options.one_hot == OneHot::kOn) info.target_shape = {info.classes};
  }

  void describe_values() {
    const auto& column = file.column(options.targets);
    need_rows(column);
    if (column.row_elements() == 0) {
      throw base::DataError(described(column) + " has shape " + shape_text(column.shape) +
                            " (targets without values); store targets as [rows] or [rows, "
                            "outputs]");
    }
    targets = &column;
    info.target_shape = sample_shape(column);
  }

  void describe_tokens() {
    const auto& column = file.column(options.tokens);
    need_rows(column);
    if (!is_integer(column.dtype) || column.shape.size() != 1) {
      throw base::DataError(described(column) + " holds " + column.type_name + " of shape " +
                            shape_text(column.shape) +
                            " (tokens are one long row of integers); store it as [tokens]");
    }
    if (options.context < 1) {
      throw base::ConfigError("context " + std::to_string(options.context) +
                              " is impossible for token data; set model.context to 1 or more");
    }
    if (options.augmentation.any()) {
      throw base::ConfigError("data.augment is given and " + described(column) +
                              " holds tokens (only inputs are augmented); remove it, or use "
                              "data.token_windows: shifted");
    }
    info.samples = window_count(column.rows(), options.context, options.token_windows);
    if (info.samples < 1) {
      const bool fixed = options.token_windows == TokenWindows::kFixed;
      const auto least = fixed ? options.context + 1 : 2 * options.context;
      throw base::DataError(described(column) + " has " + std::to_string(column.rows()) +
                            " tokens (one sample needs " +
                            (fixed ? "context + 1 = " : "for all its shifts 2 * context = ") +
                            std::to_string(least) +
                            "); give more tokens, or a smaller model.context");
    }
    info.input_shape = info.target_shape = {options.context};
    targets = &column;
    if (options.classes > 0) {
      info.classes = options.classes;
    } else if (column.dtype == DType::kU8) {
      info.classes = kByteVocabulary;
    } else {
      info.classes = largest_label(column) + 1;
    }
  }

  [[noreturn]] void refuse_label(const ColumnInfo& column, std::int64_t row,
                                 std::int64_t label) const {
    const std::string kind = info.kind == TaskKind::kTokens ? "token " : "label ";
    const auto limit = options.classes > 0 ? options.classes : kMostClasses;
    throw base::DataError(
        described(column) + " has " + kind + std::to_string(label) + " in row " +
        std::to_string(row) +
        (label < 0 ? " (they count from 0)"
                   : " (it is not below " + std::to_string(limit) +
                         (options.classes > 0 ? ", the number of classes)" : ")")) +
        "; " +
        (label < 0 || options.classes == 0 ? "renumber them from 0"
                                           : "correct the data, or raise the number of classes"));
  }

  /// Reads all labels. Throws for the first one that no model could have.
  std::int64_t largest_label(const ColumnInfo& column) {
    const auto limit = options.classes > 0 ? options.classes : kMostClasses;
    const auto block_rows =
        std::max<std::int64_t>(1, kScanBytes / static_cast<std::int64_t>(column.row_bytes()));
    std::int64_t largest = 0;
    for (std::int64_t begin = 0; begin < column.rows(); begin += block_rows) {
      const auto count = std::min(block_rows, column.rows() - begin);
      raw.resize(static_cast<std::size_t>(count) * column.row_bytes());
      file.read_rows(column.name, begin, count, raw);
      labels.resize(static_cast<std::size_t>(count));
      detail::with_elements(column.dtype, raw, [&]<class T>(std::span<const T> elements) {
        if constexpr (std::is_integral_v<T>) {
          std::transform(elements.begin(), elements.end(), labels.begin(), detail::to_i64<T>);
        }
      });
      const auto [low, high] = std::minmax_element(labels.begin(), labels.end());
      const auto bad = *low < 0 ? low : high;
      if (*low < 0 || *high >= limit) refuse_label(column, begin + (bad - labels.begin()), *bad);
      largest = std::max(largest, *high);
    }
    return largest;
  }

  void check_labels(std::span<const std::int64_t> values, auto row_of) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] < 0 || values[i] >= info.classes) refuse_label(*targets, row_of(i), values[i]);
    }
  }

  void check_finite(const ColumnInfo& column, std::span<const float> values,
                    std::span<const std::int64_t> rows) const {
    const auto bad = detail::first_not_finite(values);
    if (!bad) return;
    const auto row_elements = static_cast<std::size_t>(column.row_elements());
    throw base::DataError(described(column) + " has " + std::to_string(values[*bad]) + " in row " +
                          std::to_string(rows[*bad / row_elements]) + ", element " +
                          std::to_string(*bad % row_elements) +
                          " (as f32, after scaling; one such value spoils the whole model); "
                          "remove or replace it");
  }

  void read_inputs(std::span<const std::int64_t> rows, Batch& batch, ReadFor use) {
    const auto elements = rows.size() * static_cast<std::size_t>(inputs->row_elements());
    batch.inputs.resize(elements);
    const bool training = use == ReadFor::kTraining;
    const bool moves = training && augmentation.moves_pixels();
    if (!moves && scaling.is_identity() && inputs->dtype == DType::kF32) {
      file.read_rows(inputs->name, rows, std::as_writable_bytes(std::span(batch.inputs)));
    } else {
      raw.resize(rows.size() * inputs->row_bytes());
      file.read_rows(inputs->name, rows, raw);
      // Integers are finite; of floats all are checked, before some may be cropped away.
      if (!moves || is_float(inputs->dtype)) scaling.apply(inputs->dtype, raw, batch.inputs);
    }
    if (is_float(inputs->dtype)) check_finite(*inputs, batch.inputs, rows);
    if (training && options.augmentation.any()) augment(rows, batch);
  }

  void augment(std::span<const std::int64_t> rows, Batch& batch) {
    const auto row_elements = static_cast<std::size_t>(inputs->row_elements());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const SampleKey key{.seed = options.seed, .epoch = batch.epoch, .sample = rows[i]};
      const auto scaled = std::span(batch.inputs).subspan(i * row_elements, row_elements);
      if (augmentation.moves_pixels()) {
        const auto row = std::span(raw).subspan(i * inputs->row_bytes(), inputs->row_bytes());
        augmentation.apply(row, moved, key);
        scaling.apply(inputs->dtype, moved, scaled);
      }
      augmentation.add_noise(scaled, key);
    }
  }

  void read_classes(std::span<const std::int64_t> rows, Batch& batch) {
    raw.resize(rows.size() * targets->row_bytes());
    file.read_rows(targets->name, rows, raw);
    batch.classes.resize(rows.size());
    detail::with_elements(targets->dtype, raw, [&]<class T>(std::span<const T> elements) {
      if constexpr (std::is_integral_v<T>) {
        std::transform(elements.begin(), elements.end(), batch.classes.begin(), detail::to_i64<T>);
      }
    });
    check_labels(batch.classes, [&](std::size_t i) { return rows[i]; });
  }

  void read_one_hot(std::span<const std::int64_t> rows, Batch& batch) {
    read_classes(rows, batch);
    const auto classes = static_cast<std::size_t>(info.classes);
    batch.values.assign(rows.size() * classes, 0.0f);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      batch.values[i * classes + static_cast<std::size_t>(batch.classes[i])] = 1;
    }
    batch.classes.clear();
  }

  void read_values(std::span<const std::int64_t> rows, Batch& batch) {
    raw.resize(rows.size() * targets->row_bytes());
    file.read_rows(targets->name, rows, raw);
    batch.values.resize(rows.size() * static_cast<std::size_t>(targets->row_elements()));
    detail::with_elements(targets->dtype, raw, [&]<class T>(std::span<const T> elements) {
      std::transform(elements.begin(), elements.end(), batch.values.begin(),
                     [](T value) { return static_cast<float>(value); });
    });
    check_finite(*targets, batch.values, rows);
  }

  void read_tokens(std::span<const std::int64_t> rows, Batch& batch, ReadFor use) {
    const bool shifts =
        use == ReadFor::kTraining && options.token_windows == TokenWindows::kShifted;
    const auto shift = shifts ? window_shift(options.seed, batch.epoch, options.context) : 0;
    const auto context = static_cast<std::size_t>(options.context);
    batch.tokens.resize(rows.size() * context);
    batch.classes.resize(rows.size() * context);
    by_position.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) by_position.emplace_back(rows[i], i);
    std::sort(by_position.begin(), by_position.end());
    raw.resize((context + 1) * targets->row_bytes());
    window.resize(context + 1);
    for (const auto& [row, place] : by_position) {
      const auto begin = row * options.context + shift;
      file.read_rows(targets->name, begin, options.context + 1, raw);
      detail::with_elements(targets->dtype, raw, [&]<class T>(std::span<const T> elements) {
        if constexpr (std::is_integral_v<T>) {
          std::transform(elements.begin(), elements.end(), window.begin(), detail::to_i64<T>);
        }
      });
      check_labels(window, [&](std::size_t i) { return begin + static_cast<std::int64_t>(i); });
      std::copy_n(window.begin(), context,
                  batch.tokens.begin() + static_cast<std::ptrdiff_t>(place * context));
      std::copy_n(window.begin() + 1, context,
                  batch.classes.begin() + static_cast<std::ptrdiff_t>(place * context));
    }
  }

  SourceOptions options;
  DatasetFile file;
  SourceInfo info;
  const ColumnInfo* inputs = nullptr;   ///< nullptr for tokens
  const ColumnInfo* targets = nullptr;  ///< of tokens: the tokens
  detail::InputScaling scaling;
  Augmentation augmentation;
  std::vector<std::byte> raw;
  std::vector<std::byte> moved;  ///< one row
  std::vector<std::int64_t> labels;
  std::vector<std::int64_t> window;
  std::vector<std::pair<std::int64_t, std::size_t>> by_position;
};

SampleSource::SampleSource(SourceOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
SampleSource::~SampleSource() = default;
SampleSource::SampleSource(SampleSource&&) noexcept = default;
SampleSource& SampleSource::operator=(SampleSource&&) noexcept = default;

const SourceInfo& SampleSource::info() const { return state_->info; }

const std::string& SampleSource::path() const { return state_->options.path; }

void SampleSource::read(std::span<const std::int64_t> rows, Batch& batch, ReadFor use) {
  auto& state = *state_;
  for (const auto row : rows) {
    LOCKSTEP_EXPECT(
        row >= 0 && row < state.info.samples,
        "there is no sample " + std::to_string(row) + " in " + base::quote(state.options.path));
  }
  batch.kind = state.info.kind;
  batch.samples = static_cast<std::int64_t>(rows.size());
  batch.rows.assign(rows.begin(), rows.end());
  // Only what stays empty is cleared: a buffer that keeps its size is not filled twice.
  switch (state.info.kind) {
    case TaskKind::kClassification:
      batch.tokens.clear();
      batch.values.clear();
      state.read_inputs(rows, batch, use);
      state.read_classes(rows, batch);
      break;
    case TaskKind::kRegression:
      batch.tokens.clear();
      batch.classes.clear();
      state.read_inputs(rows, batch, use);
      state.options.one_hot == OneHot::kOn ? state.read_one_hot(rows, batch)
                                           : state.read_values(rows, batch);
      break;
    case TaskKind::kTokens:
      batch.inputs.clear();
      batch.values.clear();
      state.read_tokens(rows, batch, use);
      break;
  }
}

}  // namespace lockstep::data
