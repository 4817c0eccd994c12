#pragma once
// Samples of one or several dataset files as a model wants them: inputs scaled to f32, targets as
// classes, values or next tokens, every value checked. Used by Loader for training and directly for
// evaluation. One object belongs to one thread at a time; objects on the same file are independent.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/augmentation.hpp"
#include "data/batch.hpp"
#include "data/read_ahead.hpp"
#include "data/token_windows.hpp"

namespace lockstep::data {

enum class Fingerprinting {
  kWholeFile,
  kNone,  ///< leaves `fingerprint` empty: for ranks that take it from another rank
};

enum class OneHot { kOff, kOn };

enum class ReadFor {
  kEvaluation,  ///< samples as the file has them
  kTraining,    ///< samples as the epoch `Batch::epoch` has them: augmented, windows shifted
};

struct SourceOptions {
  std::vector<std::string> paths{};  ///< read as one dataset, one after the other
  /// None, or each file's part of an epoch of training; see data/README.md.
  std::vector<double> weights{};
  std::string inputs = "x";
  std::string targets = "y";
  std::string tokens = "tokens";
  std::int64_t context = 0;  ///< tokens of a sample; needed for token data only
  std::int64_t classes = 0;  ///< labels or tokens at or above this are errors; 0 = take the file's
  double scale = 0;          ///< factor on each input; 0 = 1/255 for u8, 1 for everything else
  std::vector<double> mean{};  ///< subtracted after scaling: none, one, or one a channel
  std::vector<double> std{};   ///< divided by after the mean: none, one, or one a channel
  /// What the file is read as; left open, `inputs` and `targets` are looked for first, then
  /// `tokens`, and the type of `targets` decides between classification and regression.
  std::optional<TaskKind> kind{};
  /// Integer classes become targets of one 1 among 0s, for regression.
  OneHot one_hot = OneHot::kOff;
  AugmentationOptions augmentation{};                 ///< of training samples
  TokenWindows token_windows = TokenWindows::kFixed;  ///< of training samples
  std::uint64_t seed = 0;                             ///< key of augmentation and shifted windows
  Fingerprinting fingerprinting = Fingerprinting::kWholeFile;
  /// Decoded rows kept of each column, unless `share_cache` gives it other memory.
  std::size_t cache_bytes = std::size_t{256} << 20;
  std::string cache_directory{};  ///< for what is kept between processes; empty = nothing is
};

struct SourceInfo {
  TaskKind kind = TaskKind::kClassification;
  std::int64_t samples = 0;
  std::vector<std::int64_t> input_shape;   ///< of one sample; tokens: [context]
  std::vector<std::int64_t> target_shape;  ///< of one sample; classes: [], one-hot [classes];
                                           ///< tokens: [context]
  /// Largest label + 1, or the vocabulary (at least 256 for u8 tokens), or SourceOptions::classes;
  /// 0 for regression, unless its targets are one-hot.
  std::int64_t classes = 0;
  std::string fingerprint;      ///< of several files: SHA-256 over theirs, in order
  std::int64_t chunk_rows = 0;  ///< of the first file's inputs; 0 when they are not in chunks
};

class SampleSource {
 public:
  /// Opens the files and checks their schemas; labels are checked here as a whole, so that a bad
  /// one is found before the run starts. Throws DataError, or ConfigError when the options do not
  /// fit the files' shapes.
  explicit SampleSource(SourceOptions options);
  ~SampleSource();
  SampleSource(SampleSource&&) noexcept;
  SampleSource& operator=(SampleSource&&) noexcept;

  const SourceInfo& info() const;
  /// What messages call the data: the path of its one file, or the first and how many more.
  const std::string& name() const;

  /// Fills `batch` with the samples numbered `rows`, in that order, and sets its `kind`, `samples`
  /// and `rows`. Throws DataError naming file, dataset and row for a value that is not finite or
  /// a label out of range.
  void read(std::span<const std::int64_t> rows, Batch& batch, ReadFor use = ReadFor::kEvaluation);

  /// SourceInfo::fingerprint, computed now where it was left empty.
  std::string fingerprint() const;

  /// Plans a cache of decoded rows for an order that stays among `window_samples` for a while (0 =
  /// it does not), and returns its size: at most `budget` bytes, 0 when nothing is decoded.
  std::size_t plan_cache(std::size_t budget, std::int64_t window_samples);
  /// Keeps decoded rows in `memory` from now on: zeroed, page aligned, as large as planned. Sources
  /// of the same files with the same plan, in any process, may share it; each chunk is then decoded
  /// once for all of them. `memory` must outlive the source.
  void share_cache(std::span<std::byte> memory);

  /// Brings training samples into memory that `read` will soon be asked for, on one other thread,
  /// while the source lives. Call it after `share_cache`, once for each thread. Empty where
  /// nothing has to be brought in, see DatasetFile::ahead.
  BringSamples ahead();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::data
