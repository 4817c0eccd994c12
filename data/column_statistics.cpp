#include "data/column_statistics.hpp"

#include <algorithm>
#include <cmath>

#include "base/vector_clones.hpp"
#include "data/digit_counts.hpp"
#include "data/elements.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::int64_t kMostChannels = 64;

LOCKSTEP_VECTOR_CLONES void widen_f32(const float* in, double* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = in[i];
}

template <class T>
void widen(std::span<const T> in, double* out) {
  if constexpr (std::is_same_v<T, float>) {
    widen_f32(in.data(), out, in.size());
  } else {
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = static_cast<double>(in[i]);
  }
}

std::size_t channels_of(const ColumnInfo& column) {
  return column.shape.size() == 4 && column.shape[1] <= kMostChannels
             ? static_cast<std::size_t>(column.shape[1])
             : 1;
}

/// Calls `use(channel, elements)` for each channel of each row.
template <class T, class Use>
void for_each_segment(std::span<const T> block, std::size_t row_elements, std::size_t channels,
                      Use&& use) {
  if (channels == 1) {
    use(std::size_t{0}, block);
    return;
  }
  const auto segment = row_elements / channels;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    for (auto begin = channel * segment; begin < block.size(); begin += row_elements) {
      use(channel, block.subspan(begin, segment));
    }
  }
}

/// Collects elements of one kind and summarises them a leaf at a time.
class LeafBuffer {
 public:
  template <class T>
  void add(std::span<const T> elements) {
    while (!elements.empty()) {
      const auto part = elements.first(std::min(elements.size(), kLeafElements - filled_));
      widen(part, leaf_.data() + filled_);
      filled_ += part.size();
      elements = elements.subspan(part.size());
      if (filled_ == kLeafElements) flush();
    }
  }
  /// The summary of what was added since the last call.
  Summary take() {
    flush();
    return std::exchange(summary_, {});
  }

 private:
  void flush() {
    if (filled_ > 0) summary_ = merged(summary_, summary_of(std::span(leaf_).first(filled_)));
    filled_ = 0;
  }

  std::vector<double> leaf_ = std::vector<double>(kLeafElements);
  std::size_t filled_ = 0;
  Summary summary_;
};

using Summaries = std::vector<Summary>;

Summaries merged_summaries(const Summaries& lower, const Summaries& upper) {
  auto both = lower;
  for (std::size_t i = 0; i < both.size(); ++i) both[i] = merged(lower[i], upper[i]);
  return both;
}

/// All that can be told of numbers whose digits are whole keys, from their counts.
template <class T>
Summary summary_of_counts(const Counts& counts, const KeyRange<T>& range) {
  Summary summary;
  auto& moments = summary.moments;
  double sum = 0;
  const auto for_each_finite = [&](auto&& use) {
    for (std::size_t digit = 0; digit < counts.size(); ++digit) {
      if (counts[digit] > 0 && is_finite_digit<T>(digit)) {
        use(range.number(static_cast<Key<T>>(digit)), counts[digit]);
      }
    }
  };
  for_each_finite([&](double value, std::uint64_t count) {
    if (moments.count == 0) summary.smallest = value;
    summary.largest = value;
    moments.count += static_cast<std::int64_t>(count);
    sum += value * static_cast<double>(count);
    if (value == 0) summary.zeros += static_cast<std::int64_t>(count);
  });
  if (moments.count > 0) moments.mean = sum / static_cast<double>(moments.count);
  for_each_finite([&](double value, std::uint64_t count) {
    moments.squares += (value - moments.mean) * (value - moments.mean) * static_cast<double>(count);
  });
  if constexpr (kIsFloat<T>) {
    for (std::size_t digit = 0; digit < counts.size(); ++digit) {
      if (is_finite_digit<T>(digit)) continue;
      const bool is_nan = std::isnan(range.number(static_cast<Key<T>>(digit)));
      (is_nan ? summary.nans : summary.infinities) += static_cast<std::int64_t>(counts[digit]);
    }
  }
  return summary;
}

/// The bins of a histogram.
class Bins {
 public:
  Bins(double low, double high, std::int64_t bins) {
    if (low == high) bins = 1;
    for (std::int64_t i = 0; i <= bins; ++i) {
      edges_.push_back(std::lerp(low, high, static_cast<double>(i) / static_cast<double>(bins)));
    }
    per_unit_ = static_cast<double>(bins) / (high - low);
  }
  std::size_t size() const { return edges_.size() - 1; }
  /// The bin of a value from `low` to `high`.
  std::size_t index_of(double value) const {
    // The quotient may be wrong where edges are near; the edges themselves decide.
    const double guess = (value - edges_.front()) * per_unit_;
    auto index = guess >= 1 ? std::min(static_cast<std::size_t>(std::min(guess, 1e6)), size() - 1)
                            : std::size_t{0};
    while (index > 0 && value < edges_[index]) --index;
    while (index + 1 < size() && value >= edges_[index + 1]) ++index;
    return index;
  }

 private:
  std::vector<double> edges_;
  double per_unit_;
};

/// Finds the numbers of given ranks, and the histogram, from counts of leading digits and as many
/// further passes as the keys have bits below.
template <class T>
class OrderSearch {
 public:
  /// `counts` has the digits of finite numbers alone, at least one of them.
  OrderSearch(RowBlocks& blocks, const ColumnInfo& column, KeyRange<T> range, Counts counts)
      : blocks_(blocks), column_(column), range_(range), counts_(std::move(counts)) {
    for (const auto count : counts_) total_ += count;
  }

  void operator()(ColumnStatistics& result, std::int64_t bins) {
    const Bins edges(*result.smallest, *result.largest, bins);
    result.histogram = {*result.smallest, *result.largest,
                        std::vector<std::int64_t>(edges.size(), 0)};
    flags_.assign(kDigits<T>, 0);
    bin_digits(edges, result);
    aim();
    int shift = range_.shift;
    const bool open_bins = std::any_of(flags_.begin(), flags_.end(),
                                       [](std::uint8_t flag) { return (flag & kOpenBin) != 0; });
    if (shift > 0) {
      shift = refine(shift, open_bins ? &edges : nullptr, result.histogram.counts);
      while (shift > 0) shift = refine(shift, nullptr, result.histogram.counts);
    }
    for (const double quantile : kQuantiles) result.quantiles.push_back(value_at(quantile));
  }

 private:
  static constexpr std::uint8_t kOpenBin = 0x80;  ///< numbers of this digit fall into several bins
  static constexpr std::uint8_t kWanted = 1;      ///< a wanted rank lies at this digit

  /// A rank that is looked for: it is number `below` of those whose key begins with `prefix`.
  struct Aim {
    std::uint64_t rank;
    std::uint64_t below;
    Key<T> prefix;
  };

  /// Digits whose numbers all lie in one bin are counted there at once.
  void bin_digits(const Bins& edges, ColumnStatistics& result) {
    const auto low = *result.smallest;
    const auto high = *result.largest;
    for (std::size_t digit = 0; digit < counts_.size(); ++digit) {
      if (counts_[digit] == 0) continue;
      const auto first = static_cast<Key<T>>(static_cast<Key<T>>(digit) << range_.shift);
      const auto last = static_cast<Key<T>>(first + ((Key<T>{1} << range_.shift) - 1));
      const auto bin = edges.index_of(std::clamp(number_or(first, low), low, high));
      if (bin == edges.index_of(std::clamp(number_or(last, high), low, high))) {
        result.histogram.counts[bin] += static_cast<std::int64_t>(counts_[digit]);
      } else {
        flags_[digit] |= kOpenBin;
      }
    }
  }
  /// The last digit of integers may go beyond the type's numbers.
  double number_or(Key<T> relative, double otherwise) const {
    if constexpr (!kIsFloat<T>) {
      if (static_cast<Key<T>>(relative + range_.offset) < range_.offset) return otherwise;
    }
    return range_.number(relative);
  }

  void aim() {
    for (const double quantile : kQuantiles) {
      const auto rank = std::floor(quantile * static_cast<double>(total_ - 1));
      for (const auto wanted : {static_cast<std::uint64_t>(rank),
                                std::min(total_ - 1, static_cast<std::uint64_t>(rank) + 1)}) {
        aims_.push_back({wanted, wanted, 0});
      }
    }
    for (auto& wanted : aims_) {
      std::size_t digit = 0;
      while (wanted.below >= counts_[digit]) wanted.below -= counts_[digit++];
      wanted.prefix = static_cast<Key<T>>(digit);
      flags_[digit] |= kWanted;
    }
  }

  /// One more pass: counts the next digit of the numbers whose keys begin as an aim's. Returns how
  /// many bits are left below.
  int refine(int shift, const Bins* edges, std::vector<std::int64_t>& bin_counts) {
    const int digit_bits = std::min(shift, 16);
    const int rest = shift - digit_bits;
    const auto mask = static_cast<Key<T>>((Key<T>{1} << digit_bits) - 1);
    std::vector<Key<T>> prefixes;
    for (const auto& wanted : aims_) prefixes.push_back(wanted.prefix);
    std::sort(prefixes.begin(), prefixes.end());
    prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());

    std::vector<std::uint8_t> raw_flags(kDigits<T>);
    for (std::size_t raw = 0; raw < raw_flags.size(); ++raw) {
      const auto flag = flags_[digit_of_raw<T>(raw)];
      raw_flags[raw] = edges == nullptr ? flag & kWanted : flag;
    }
    struct Found {
      std::vector<Counts> digits;  // [prefix]
      std::vector<std::int64_t> bins;
    };
    std::vector<Found> found(static_cast<std::size_t>(blocks_.threads()));
    blocks_.scan(column_, [&](const RowBlock& block) {
      auto& mine = found[static_cast<std::size_t>(block.worker)];
      if (mine.bins.empty()) {
        mine.bins.assign(bin_counts.size(), 0);
        mine.digits.assign(prefixes.size(), Counts(std::size_t{1} << digit_bits));
      }
      const std::span values(reinterpret_cast<const T*>(block.raw.data()),
                             block.raw.size() / sizeof(T));
      for (const T value : values) {
        const auto flag = raw_flags[raw_digit(value, range_)];
        if (flag == 0) continue;
        if ((flag & kOpenBin) != 0) ++mine.bins[edges->index_of(static_cast<double>(value))];
        if ((flag & kWanted) == 0) continue;
        const auto key = range_.relative(value);
        const auto prefix = static_cast<Key<T>>(key >> shift);
        const auto slot = std::find(prefixes.begin(), prefixes.end(), prefix);
        if (slot == prefixes.end()) continue;
        ++mine.digits[static_cast<std::size_t>(slot - prefixes.begin())]
                     [static_cast<std::size_t>(key >> rest & mask)];
      }
    });

    std::vector<Counts> digits(prefixes.size(), Counts(std::size_t{1} << digit_bits));
    for (const auto& part : found) {
      for (std::size_t i = 0; i < part.bins.size(); ++i) bin_counts[i] += part.bins[i];
      for (std::size_t slot = 0; slot < part.digits.size(); ++slot) {
        for (std::size_t i = 0; i < digits[slot].size(); ++i) {
          digits[slot][i] += part.digits[slot][i];
        }
      }
    }
    for (auto& wanted : aims_) {
      const auto slot = std::lower_bound(prefixes.begin(), prefixes.end(), wanted.prefix);
      const auto& counts = digits[static_cast<std::size_t>(slot - prefixes.begin())];
      std::size_t digit = 0;
      while (digit + 1 < counts.size() && wanted.below >= counts[digit]) {
        wanted.below -= counts[digit++];
      }
      wanted.prefix = static_cast<Key<T>>(static_cast<Key<T>>(wanted.prefix << digit_bits) | digit);
    }
    return rest;
  }

  /// Between neighbours in proportion, as numpy's `linear`.
  double value_at(double quantile) const {
    const double place = quantile * static_cast<double>(total_ - 1);
    const auto rank = static_cast<std::uint64_t>(std::floor(place));
    const auto number_of = [&](std::uint64_t wanted) {
      const auto found = std::find_if(aims_.begin(), aims_.end(),
                                      [&](const Aim& aim) { return aim.rank == wanted; });
      return range_.number(found->prefix);
    };
    return std::lerp(number_of(rank), number_of(std::min(rank + 1, total_ - 1)),
                     place - std::floor(place));
  }

  RowBlocks& blocks_;
  const ColumnInfo& column_;
  KeyRange<T> range_;
  Counts counts_;
  std::uint64_t total_ = 0;
  std::vector<std::uint8_t> flags_;  ///< by digit
  std::vector<Aim> aims_;
};

/// What the first passes over a column give.
template <class T>
struct Counted {
  Summaries channels;
  KeyRange<T> range;
  Counts digits;  ///< of all channels
};

/// Small numbers: how often each one occurs says everything.
template <class T>
Counted<T> count_small(RowBlocks& blocks, const ColumnInfo& column, std::size_t channels) {
  std::vector<std::vector<DigitCounter<T>>> counters(static_cast<std::size_t>(blocks.threads()),
                                                     std::vector<DigitCounter<T>>(channels));
  const auto row_elements = static_cast<std::size_t>(column.row_elements());
  blocks.scan(column, [&](const RowBlock& block) {
    auto& mine = counters[static_cast<std::size_t>(block.worker)];
    const std::span values(reinterpret_cast<const T*>(block.raw.data()),
                           block.raw.size() / sizeof(T));
    for_each_segment(
        values, row_elements, channels,
        [&](std::size_t channel, std::span<const T> elements) { mine[channel].add(elements); });
  });
  Counted<T> counted;
  counted.digits.resize(kDigits<T>);
  for (std::size_t channel = 0; channel < channels; ++channel) {
    Counts counts(kDigits<T>);
    for (auto& mine : counters) mine[channel].add_to(counts);
    counted.channels.push_back(summary_of_counts(counts, counted.range));
    for (std::size_t i = 0; i < counts.size(); ++i) counted.digits[i] += counts[i];
  }
  if (channels > 1) counted.channels.push_back(summary_of_counts(counted.digits, counted.range));
  return counted;
}

template <class T>
std::pair<T, T> extremes_of(std::span<const T> values) {
  T smallest = std::numeric_limits<T>::max();
  T largest = std::numeric_limits<T>::lowest();
  for (const T value : values) {
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
  }
  return {smallest, largest};
}

/// Large numbers: sums block by block; of floats the leading digits in the same pass, of integers
/// in a second one, when their range is known.
template <class T>
Counted<T> count_large(RowBlocks& blocks, const ColumnInfo& column, std::size_t channels) {
  struct Worker {
    DigitCounter<T> counter;
    LeafBuffer leaf;
    T smallest = std::numeric_limits<T>::max();
    T largest = std::numeric_limits<T>::lowest();
  };
  std::vector<Worker> workers(static_cast<std::size_t>(blocks.threads()));
  OrderedFold<Summaries> fold(merged_summaries);
  const auto row_elements = static_cast<std::size_t>(column.row_elements());
  const auto values_of = [](const RowBlock& block) {
    return std::span(reinterpret_cast<const T*>(block.raw.data()), block.raw.size() / sizeof(T));
  };
  blocks.scan(column, [&](const RowBlock& block) {
    auto& mine = workers[static_cast<std::size_t>(block.worker)];
    const auto values = values_of(block);
    Summaries summaries(channels);
    std::size_t current = 0;
    for_each_segment(values, row_elements, channels,
                     [&](std::size_t channel, std::span<const T> elements) {
                       if (channel != current) summaries[current] = mine.leaf.take();
                       current = channel;
                       mine.leaf.add(elements);
                     });
    summaries[current] = mine.leaf.take();
    fold.add(block.index, std::move(summaries));
    if constexpr (kIsFloat<T>) {
      mine.counter.add(values);
    } else {
      const auto [smallest, largest] = extremes_of(values);
      mine.smallest = std::min(mine.smallest, smallest);
      mine.largest = std::max(mine.largest, largest);
    }
  });

  Counted<T> counted;
  counted.channels = *fold.finish();
  if (channels > 1) {
    Summary whole;
    for (const auto& summary : counted.channels) whole = merged(whole, summary);
    counted.channels.push_back(whole);
  }
  if constexpr (!kIsFloat<T>) {
    T smallest = workers.front().smallest;
    T largest = workers.front().largest;
    for (const auto& worker : workers) {
      smallest = std::min(smallest, worker.smallest);
      largest = std::max(largest, worker.largest);
    }
    counted.range = KeyRange<T>::between(smallest, largest);
    for (auto& worker : workers) worker.counter = DigitCounter<T>(counted.range);
    blocks.scan(column, [&](const RowBlock& block) {
      workers[static_cast<std::size_t>(block.worker)].counter.add(values_of(block));
    });
  }
  counted.digits.resize(kDigits<T>);
  for (auto& worker : workers) worker.counter.add_to(counted.digits);
  return counted;
}

template <class T>
CountedColumn count_elements(RowBlocks& blocks, const ColumnInfo& column, std::int64_t bins) {
  CountedColumn result;
  auto& statistics = result.statistics;
  statistics.name = column.name;
  statistics.dtype = column.dtype;
  statistics.shape = column.shape;
  statistics.elements = column.rows() * column.row_elements();
  if (statistics.elements == 0) return result;

  const auto channels = channels_of(column);
  auto counted = [&] {
    if constexpr (sizeof(T) <= 2) {
      return count_small<T>(blocks, column, channels);
    } else {
      return count_large<T>(blocks, column, channels);
    }
  }();
  const auto& whole = counted.channels.back();
  statistics.nans = whole.nans;
  statistics.infinities = whole.infinities;
  statistics.zeros = whole.zeros;
  if (whole.moments.count == 0) return result;
  statistics.smallest = whole.smallest;
  statistics.largest = whole.largest;
  statistics.overall = {whole.moments.mean, whole.moments.deviation()};
  if (column.shape.size() == 4 && column.shape[1] <= kMostChannels) {
    for (std::size_t channel = 0; channel < channels; ++channel) {
      const auto& moments = counted.channels[channel].moments;
      statistics.channels.push_back({moments.mean, moments.deviation()});
    }
  }
  for (std::size_t digit = 0; digit < counted.digits.size(); ++digit) {
    if (!is_finite_digit<T>(digit)) counted.digits[digit] = 0;
  }
  if constexpr (std::is_integral_v<T>) {
    if (counted.range.shift == 0) {
      for (std::size_t digit = 0; digit < counted.digits.size(); ++digit) {
        if (counted.digits[digit] == 0) continue;
        const auto key = static_cast<Key<T>>(static_cast<Key<T>>(digit) + counted.range.offset);
        result.values.emplace_back(to_i64(value_of_key<T>(key)),
                                   static_cast<std::int64_t>(counted.digits[digit]));
      }
    }
  }
  OrderSearch<T>(blocks, column, counted.range, std::move(counted.digits))(statistics, bins);
  return result;
}

}  // namespace

CountedColumn count_column(RowBlocks& blocks, const ColumnInfo& column, std::int64_t bins) {
  return with_elements(column.dtype, {}, [&]<class T>(std::span<const T>) {
    return count_elements<T>(blocks, column, bins);
  });
}

void widen(DType dtype, std::span<const std::byte> in, std::span<double> out) {
  with_elements(dtype, in, [&](auto elements) { widen(elements, out.data()); });
}

}  // namespace lockstep::data::detail
