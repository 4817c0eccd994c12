#include "comm/bucket_plan.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kAlignFloats = 64;  // 256 bytes

std::int64_t up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

BucketPlan::BucketPlan(const BucketPlanOptions& options) : ranks_(options.ranks) {
  LOCKSTEP_EXPECT(options.floats >= 0 && options.ranks >= 1 && options.bucket_floats >= 1 &&
                      options.last_floats >= 1,
                  "buckets of nothing");
  LOCKSTEP_EXPECT(options.slice_unit > 0 && options.slice_unit % kAlignFloats == 0,
                  "slices that begin where a device does not read well");
  const auto unit = options.slice_unit * options.ranks;
  padded_ = up(options.floats, unit);
  const auto last = std::min(padded_, up(options.last_floats, unit));
  const auto most = up(options.bucket_floats, unit);
  for (auto end = padded_; end > 0;) {
    const auto begin = end <= last ? 0 : std::max(last, end - most);
    buckets_.push_back({begin, end});
    end = begin;
  }
}

LeafRange BucketPlan::slice(std::size_t bucket, int rank) const {
  const auto range = buckets_.at(bucket);
  const auto length = range.size() / ranks_;
  return {range.begin + rank * length, range.begin + (rank + 1) * length};
}

int BucketPlan::owner_of(std::int64_t at) const {
  const auto bucket = std::ranges::find_if(buckets_, [&](auto range) { return range.begin <= at; });
  LOCKSTEP_EXPECT(bucket != buckets_.end() && at < bucket->end, "a float outside the gradient");
  return static_cast<int>((at - bucket->begin) / (bucket->size() / ranks_));
}

std::size_t BucketPlan::ready(std::size_t done, std::int64_t ready_begin) const {
  std::size_t count = 0;
  while (done + count < buckets_.size() && buckets_[done + count].begin >= ready_begin) ++count;
  return count;
}

}  // namespace lockstep::comm
