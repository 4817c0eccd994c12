#pragma once
// The order in which an epoch takes its samples: a pure function of seed and epoch that begins
// anywhere without a search. Used by LoaderPlan. Immutable, any thread.

#include <cstdint>
#include <span>
#include <string>

#include "data/permutation.hpp"

namespace lockstep::data {

enum class OrderKind {
  kExact,  ///< any sample may follow any other
  /// Blocks of neighbouring samples in random order, and the samples of a window of such blocks
  /// shuffled: a file that is compressed or cold is read a block at a time.
  kBlock,
};

struct OrderOptions {
  Shuffle shuffle = Shuffle::kOn;
  OrderKind kind = OrderKind::kExact;
  std::int64_t block_samples = 0;  ///< kBlock: at least 1
  std::int64_t window_blocks = 0;  ///< kBlock: at least 1

  /// Samples among which an order stays for a while; 0 = it does not.
  std::int64_t window_samples() const;
  /// `in order`, `shuffled`, or `shuffled in windows of 64 blocks of 32`: part of the ledger.
  std::string described() const;
};

class SampleOrder {
 public:
  /// Throws ConfigError for a block or window below 1.
  SampleOrder(std::int64_t samples, std::uint64_t seed, std::int64_t epoch,
              const OrderOptions& options);

  /// The samples at positions [first, first + samples.size()).
  void take(std::int64_t first, std::span<std::int64_t> samples) const;

 private:
  std::int64_t start_of(std::int64_t block) const;
  std::int64_t block_at(std::int64_t position) const;
  void take_from_blocks(std::int64_t first, std::span<std::int64_t> samples) const;

  OrderOptions options_;
  std::uint64_t seed_;
  std::int64_t epoch_;
  std::int64_t samples_;
  std::int64_t blocks_ = 0;
  std::int64_t missing_ = 0;      ///< samples that the file's last block lacks
  std::int64_t short_block_ = 0;  ///< where that block comes in the order of blocks
  Permutation permutation_;       ///< of samples, or of blocks
};

}  // namespace lockstep::data
