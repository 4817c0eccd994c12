#include "data/source.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "data/file_source.hpp"
#include "data/fingerprint.hpp"
#include "data/sample_mix.hpp"
#include "data/shape_text.hpp"

namespace lockstep::data {
namespace {

constexpr std::size_t kPageBytes = 4096;

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string fingerprint_of(const SourceOptions& options) {
  const FingerprintOptions how{.cache_directory = options.cache_directory};
  if (options.paths.size() == 1) return data::fingerprint(options.paths.front(), how);
  base::Sha256 digest;
  for (const auto& path : options.paths) digest.update(data::fingerprint(path, how));
  return base::to_hex(digest.finish());
}

std::string name_of(const std::vector<std::string>& paths) {
  if (paths.size() == 1) return paths.front();
  return paths.front() + " and " + std::to_string(paths.size() - 1) + " more";
}

std::vector<std::int64_t> counts_of(const std::vector<detail::FileSource>& files) {
  std::vector<std::int64_t> counts;
  for (const auto& file : files) counts.push_back(file.info().samples);
  return counts;
}

std::string form_of(const SourceInfo& info) {
  return std::string(name_of(info.kind)) + ", inputs " + shape_text(info.input_shape) +
         ", targets " + shape_text(info.target_shape);
}

void require_alike(const detail::FileSource& file, const detail::FileSource& first) {
  const auto& a = file.info();
  const auto& b = first.info();
  if (a.kind == b.kind && a.input_shape == b.input_shape && a.target_shape == b.target_shape) {
    return;
  }
  throw base::DataError("data file " + base::quote(file.path()) +
                        " holds samples of another form (" + form_of(a) + ") than " +
                        base::quote(first.path()) + " (" + form_of(b) +
                        "; files that are read as one need samples of one shape and kind); make "
                        "them alike, or leave one out");
}

/// A column whose rows are decoded, and its part of the cache.
struct CachePart {
  std::size_t file;
  std::string column;
  std::size_t whole;  ///< bytes of all its decoded rows
  std::size_t bytes;
};

}  // namespace

struct SampleSource::State {
  explicit State(SourceOptions source_options)
      : options(std::move(source_options)), files(open_files()), name(name_of(options.paths)) {
    info = files.front().info();
    for (const auto& file : files) info.classes = std::max(info.classes, file.info().classes);
    for (auto& file : files) {
      file.set_classes(info.classes);
      require_alike(file, files.front());
    }
    info.target_shape = files.front().info().target_shape;
    mix = detail::SampleMix(counts_of(files), options.weights, options.seed);
    info.samples = mix.samples();
    info.chunk_rows = files.front().chunk_rows();
    if (options.fingerprinting == Fingerprinting::kWholeFile) {
      info.fingerprint = fingerprint_of(options);
    }
  }

  std::vector<detail::FileSource> open_files() const {
    LOCKSTEP_EXPECT(!options.paths.empty(), "samples of no file were asked for");
    std::vector<detail::FileSource> opened;
    opened.reserve(options.paths.size());
    for (const auto& path : options.paths) opened.emplace_back(path, options);
    return opened;
  }

  /// Makes room for all samples. Only what stays empty is cleared: a buffer that keeps its size is
  /// not filled twice.
  void resize(Batch& batch) const {
    const auto count = static_cast<std::size_t>(batch.samples);
    const auto inputs = count * static_cast<std::size_t>(elements_of(info.input_shape));
    const auto targets = count * static_cast<std::size_t>(elements_of(info.target_shape));
    const bool tokens = info.kind == TaskKind::kTokens;
    batch.inputs.resize(tokens ? 0 : inputs);
    batch.tokens.resize(tokens ? inputs : 0);
    batch.classes.resize(info.kind == TaskKind::kRegression ? 0 : targets);
    batch.values.resize(info.kind == TaskKind::kRegression ? targets : 0);
  }

  void read(std::span<const std::int64_t> rows, Batch& batch, ReadFor use) {
    if (files.size() == 1 && options.weights.empty()) {
      places.resize(rows.size());
      std::iota(places.begin(), places.end(), 0);
      files.front().read({rows, places}, batch, use);
      return;
    }
    // File by file, in the order of the files.
    found.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto place =
          use == ReadFor::kTraining ? mix.at(rows[i], batch.epoch) : mix.unmixed(rows[i]);
      found.push_back({place.file, place.sample, i});
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Found& a, const Found& b) { return a.file < b.file; });
    samples.clear();
    places.clear();
    for (const auto& one : found) {
      samples.push_back(one.sample);
      places.push_back(one.place);
    }
    for (std::size_t begin = 0; begin < found.size();) {
      auto end = begin;
      while (end < found.size() && found[end].file == found[begin].file) ++end;
      files[found[begin].file].read({std::span(samples).subspan(begin, end - begin),
                                     std::span(places).subspan(begin, end - begin)},
                                    batch, use);
      begin = end;
    }
  }

  std::size_t plan_cache(std::size_t budget, std::int64_t window) {
    window_samples = window;
    cache.clear();
    for (std::size_t i = 0; i < files.size(); ++i) {
      for (const auto& column : files[i].cached_columns()) {
        cache.push_back({i, column.name, column.bytes, 0});
      }
    }
    // Small columns whole, large ones share what remains.
    std::vector<CachePart*> by_size;
    for (auto& part : cache) by_size.push_back(&part);
    std::stable_sort(by_size.begin(), by_size.end(),
                     [](const auto* a, const auto* b) { return a->whole < b->whole; });
    auto left = budget;
    for (std::size_t i = 0; i < by_size.size(); ++i) {
      auto& part = *by_size[i];
      const auto share = left / (by_size.size() - i) / kPageBytes * kPageBytes;
      part.bytes = files[part.file].file().cache_bytes(part.column, share, window);
      part.bytes = (part.bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
      left -= std::min(left, part.bytes);
    }
    std::size_t total = 0;
    for (const auto& part : cache) total += part.bytes;
    return total;
  }

  void share_cache(std::span<std::byte> memory) {
    for (const auto& part : cache) {
      files[part.file].file().share_cache(part.column, memory.first(part.bytes), window_samples);
      memory = memory.subspan(part.bytes);
    }
  }

  struct Found {
    std::size_t file;
    std::int64_t sample;
    std::size_t place;
  };

  SourceOptions options;
  std::vector<detail::FileSource> files;
  std::string name;
  SourceInfo info;
  detail::SampleMix mix{{0}, {}, 0};
  std::vector<CachePart> cache;
  std::int64_t window_samples = 0;
  std::vector<Found> found;
  std::vector<std::int64_t> samples;
  std::vector<std::size_t> places;
};

SampleSource::SampleSource(SourceOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
SampleSource::~SampleSource() = default;
SampleSource::SampleSource(SampleSource&&) noexcept = default;
SampleSource& SampleSource::operator=(SampleSource&&) noexcept = default;

const SourceInfo& SampleSource::info() const { return state_->info; }

const std::string& SampleSource::name() const { return state_->name; }

void SampleSource::read(std::span<const std::int64_t> rows, Batch& batch, ReadFor use) {
  auto& state = *state_;
  for (const auto row : rows) {
    LOCKSTEP_EXPECT(row >= 0 && row < state.info.samples,
                    "there is no sample " + std::to_string(row) + " in " + base::quote(state.name));
  }
  batch.kind = state.info.kind;
  batch.samples = static_cast<std::int64_t>(rows.size());
  batch.rows.assign(rows.begin(), rows.end());
  state.resize(batch);
  state.read(rows, batch, use);
}

std::string SampleSource::fingerprint() const {
  return state_->info.fingerprint.empty() ? fingerprint_of(state_->options)
                                          : state_->info.fingerprint;
}

std::size_t SampleSource::plan_cache(std::size_t budget, std::int64_t window_samples) {
  return state_->plan_cache(budget, window_samples);
}

BringSamples SampleSource::ahead() {
  std::vector<BringSamples> of_files;
  for (auto& file : state_->files) of_files.push_back(file.ahead());
  if (std::none_of(of_files.begin(), of_files.end(), [](const auto& one) { return bool(one); })) {
    return {};
  }
  return [of_files, mix = state_->mix,
          wanted = std::vector<std::vector<std::int64_t>>(of_files.size())](
             std::span<const std::int64_t> samples, std::int64_t epoch) mutable {
    for (auto& of_file : wanted) of_file.clear();
    for (const auto sample : samples) {
      const auto place = mix.at(sample, epoch);
      wanted[place.file].push_back(place.sample);
    }
    for (std::size_t i = 0; i < of_files.size(); ++i) {
      if (of_files[i]) of_files[i](wanted[i], epoch);
    }
  };
}

void SampleSource::share_cache(std::span<std::byte> memory) { state_->share_cache(memory); }

}  // namespace lockstep::data
