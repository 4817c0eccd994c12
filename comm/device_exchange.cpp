#include "comm/device_exchange.hpp"

#include <string>
#include <utility>

#include "base/error.hpp"
#include "comm/fold_launch.hpp"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kSharedUnit = 64;

}  // namespace

DeviceExchange::DeviceExchange(NcclGroup& group, DeviceApi& device, DeviceFold& fold,
                               DeviceExchangeOptions options)
    : group_(group),
      device_(device),
      fold_(fold),
      plan_(options.buckets),
      invariant_(options.invariant) {
  LOCKSTEP_EXPECT(options.buckets.ranks == group.size() &&
                      std::cmp_equal(options.leaves_of_rank.size(), group.size()),
                  "the exchange needs a range of leaves and a slice for each rank");
  std::vector<LeafRange> all;
  std::int64_t others = 0;
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto range = options.leaves_of_rank[static_cast<std::size_t>(rank)];
    subtrees_of_rank_.push_back(invariant_ ? maximal_subtrees(range, options.leaves)
                                           : std::vector{range});
    const auto& subtrees = subtrees_of_rank_.back();
    all.insert(all.end(), subtrees.begin(), subtrees.end());
    if (rank == group.rank()) {
      own_ = subtrees;
    } else {
      others += std::ssize(subtrees);
    }
  }
  floats_ =
      plan_.padded_floats() + (options.shared_floats + kSharedUnit - 1) / kSharedUnit * kSharedUnit;
  if (invariant_) program_ = fold_program(all, options.leaves);
  if (std::cmp_greater(all.size(), kMostFoldPartials) && invariant_) {
    throw base::ConfigError(
        "gradients have " + std::to_string(all.size()) + " partial sums over " +
        std::to_string(group.size()) + " ranks (a device sums " +
        std::to_string(kMostFoldPartials) +
        " at most); choose a global batch of a power of two micro-batches a rank, or "
        "train.reduction fast");
  }
  try {
    for (std::size_t i = 0; i < own_.size(); ++i) {
      partials_.push_back(allocate(floats_));
    }
    std::int64_t room = 0;
    for (std::size_t bucket = 0; bucket < plan_.buckets().size(); ++bucket) {
      inbox_of_bucket_.push_back(room);
      room += others * plan_.slice(bucket, 0).size();
    }
    inbox_of_bucket_.push_back(room);
    room += others * (floats_ - shared_begin());
    if (invariant_ && room > 0) inbox_ = allocate(room);
  } catch (...) {
    for (auto* memory : memory_) device_.release(memory);
    throw;
  }
}

DeviceExchange::~DeviceExchange() {
  if (group_.has_failed()) return;  // the end of the process frees it, and waits for nobody
  for (auto* memory : memory_) device_.release(memory);
}

float* DeviceExchange::allocate(std::int64_t floats) {
  memory_.reserve(memory_.size() + 1);
  memory_.push_back(
      static_cast<float*>(device_.allocate(static_cast<std::size_t>(floats) * sizeof(float))));
  return memory_.back();
}

void DeviceExchange::ready(std::int64_t ready_begin, DeviceStream compute) {
  const auto count = plan_.ready(done_, ready_begin);
  if (count == 0) return;
  group_.begin_after(compute);
  for (std::size_t i = 0; i < count; ++i) exchange(done_++);
}

void DeviceExchange::exchange(std::size_t bucket) {
  const auto mine = plan_.slice(bucket, group_.rank());
  const auto floats = static_cast<std::size_t>(mine.size());
  if (!invariant_) {
    group_.reduce_scatter(partials_[0] + plan_.buckets()[bucket].begin, partials_[0] + mine.begin,
                          floats, DeviceType::kFloat32, ReduceOp::kSum, "gradients");
    return;
  }
  std::vector<std::int64_t> begins;
  for (int rank = 0; rank < group_.size(); ++rank) {
    begins.push_back(plan_.slice(bucket, rank).begin);
  }
  fold_part(begins, floats, inbox_ + inbox_of_bucket_[bucket]);
}

void DeviceExchange::exchange_shared() {
  const auto floats = static_cast<std::size_t>(floats_ - shared_begin());
  if (floats == 0) return;
  if (!invariant_) {
    auto* values = partials_[0] + shared_begin();
    group_.all_reduce(values, values, floats, DeviceType::kFloat32, ReduceOp::kSum,
                      "changes of buffers");
    return;
  }
  const std::vector<std::int64_t> begins(static_cast<std::size_t>(group_.size()), shared_begin());
  fold_part(begins, floats, inbox_ + inbox_of_bucket_.back());
}

void DeviceExchange::fold_part(std::span<const std::int64_t> begins, std::size_t floats,
                               float* room) {
  const auto begin = begins[static_cast<std::size_t>(group_.rank())];
  std::vector<DeviceSend> sends;
  std::vector<DeviceReceive> receives;
  std::vector<const float*> inputs;
  for (int rank = 0; rank < group_.size(); ++rank) {
    if (rank == group_.rank()) {
      for (const auto* partial : partials_) inputs.push_back(partial + begin);
      continue;
    }
    for (const auto* partial : partials_) {
      sends.push_back({rank, partial + begins[static_cast<std::size_t>(rank)], floats});
    }
    for (std::size_t i = 0; i < subtrees_of_rank_[static_cast<std::size_t>(rank)].size(); ++i) {
      receives.push_back({rank, room, floats});
      inputs.push_back(room);
      room += floats;
    }
  }
  if (!receives.empty()) {
    group_.exchange(sends, receives, DeviceType::kFloat32, "gradients");
  }
  fold_.fold(inputs, program_, partials_[0] + begin, floats, group_.stream());
}

void DeviceExchange::ready_all(DeviceStream compute) {
  ready(0, compute);
  group_.begin_after(compute);
  exchange_shared();
  all_ready_ = true;
}

float* DeviceExchange::sums(DeviceStream compute) {
  LOCKSTEP_EXPECT(all_ready_, "gradients that were not all exchanged");
  done_ = 0;
  all_ready_ = false;
  group_.finish_before(compute);
  return partials_[0];
}

void DeviceExchange::gather(float* values, DeviceStream compute) {
  group_.begin_after(compute);
  for (std::size_t bucket = 0; bucket < plan_.buckets().size(); ++bucket) {
    const auto mine = plan_.slice(bucket, group_.rank());
    group_.all_gather(values + mine.begin, values + plan_.buckets()[bucket].begin,
                      static_cast<std::size_t>(mine.size()), DeviceType::kFloat32, "parameters");
  }
  group_.finish_before(compute);
}

}  // namespace lockstep::comm
