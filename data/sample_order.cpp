#include "data/sample_order.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"
#include "base/philox.hpp"

namespace lockstep::data {
namespace {

bool in_blocks(const OrderOptions& options) {
  return options.shuffle == Shuffle::kOn && options.kind == OrderKind::kBlock;
}

std::int64_t permuted_count(std::int64_t samples, const OrderOptions& options) {
  if (!in_blocks(options)) return samples;
  if (options.block_samples < 1 || options.window_blocks < 1) {
    throw base::ConfigError("a shuffle of blocks of " + std::to_string(options.block_samples) +
                            " samples in windows of " + std::to_string(options.window_blocks) +
                            " is impossible; set data.block_samples and data.window_blocks to 1 "
                            "or more");
  }
  return (samples + options.block_samples - 1) / options.block_samples;
}

}  // namespace

std::int64_t OrderOptions::window_samples() const {
  return in_blocks(*this) ? block_samples * window_blocks : 0;
}

std::string OrderOptions::described() const {
  if (shuffle == Shuffle::kOff) return "in order";
  if (kind == OrderKind::kExact) return "shuffled";
  return "shuffled in windows of " + std::to_string(window_blocks) + " blocks of " +
         std::to_string(block_samples);
}

SampleOrder::SampleOrder(std::int64_t samples, std::uint64_t seed, std::int64_t epoch,
                         const OrderOptions& options)
    : options_(options),
      seed_(seed),
      epoch_(epoch),
      samples_(samples),
      permutation_(permuted_count(samples, options), seed, epoch, options.shuffle) {
  if (!in_blocks(options)) return;
  blocks_ = permutation_.rows();
  missing_ = blocks_ * options.block_samples - samples;
  short_block_ = permutation_.position_of(blocks_ - 1);
}

/// Position of the first sample of the block that comes as the `block`th.
std::int64_t SampleOrder::start_of(std::int64_t block) const {
  return block * options_.block_samples - (block > short_block_ ? missing_ : 0);
}

std::int64_t SampleOrder::block_at(std::int64_t position) const {
  const auto before = short_block_ * options_.block_samples;
  if (position < before) return position / options_.block_samples;
  return std::max(short_block_, (position + missing_) / options_.block_samples);
}

void SampleOrder::take(std::int64_t first, std::span<std::int64_t> samples) const {
  if (in_blocks(options_)) {
    take_from_blocks(first, samples);
    return;
  }
  permutation_.take(first, samples);
}

void SampleOrder::take_from_blocks(std::int64_t first, std::span<std::int64_t> samples) const {
  LOCKSTEP_EXPECT(first >= 0 && first + static_cast<std::int64_t>(samples.size()) <= samples_,
                  "positions outside of the epoch");
  while (!samples.empty()) {
    const auto window = block_at(first) / options_.window_blocks;
    const auto begin = start_of(window * options_.window_blocks);
    const auto end = start_of(std::min((window + 1) * options_.window_blocks, blocks_));
    const auto key =
        base::keyed_random(seed_, base::RandomPurpose::kBlockWindow,
                           static_cast<std::uint64_t>(epoch_), static_cast<std::uint64_t>(window));
    const Permutation inside(end - begin, key, 0, Shuffle::kOn);
    const auto count = std::min(static_cast<std::int64_t>(samples.size()), end - first);
    for (auto& sample : samples.first(static_cast<std::size_t>(count))) {
      const auto position = begin + inside.at(first - begin);
      const auto block = block_at(position);
      sample = permutation_.at(block) * options_.block_samples + position - start_of(block);
      ++first;
    }
    samples = samples.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace lockstep::data
