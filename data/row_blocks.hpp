#pragma once
// Whole columns read in fixed blocks of rows on several threads, and partial results put together
// in one order whatever the threads do. Internal to data/. What a block is depends on the bytes of
// a row alone, so results do not depend on threads or on how the file is stored.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_file.hpp"

namespace lockstep::data::detail {

/// Rows [begin, begin + count) of a column.
struct RowBlock {
  int worker;          ///< of the thread, below RowBlocks::threads()
  std::int64_t index;  ///< blocks are numbered in the order of the rows
  std::int64_t begin;
  std::int64_t count;
  std::span<const std::byte> raw;  ///< their elements, native; valid during the call
  DatasetFile& file;               ///< the thread's own
};

/// Belongs to one thread, which waits while its helpers read.
class RowBlocks {
 public:
  /// Opens `path` for each of `threads` threads when it is first needed. Throws DataError.
  RowBlocks(const std::string& path, int threads);

  int threads() const { return static_cast<int>(files_.size()); }
  /// The caller's own.
  DatasetFile& file() { return *files_.front(); }

  /// Calls `use` for each block of `column`, from several threads at a time, each of which takes
  /// blocks in ascending order. The exception of the first block that fails is thrown on.
  void scan(const ColumnInfo& column, const std::function<void(const RowBlock&)>& use);

 private:
  std::string path_;
  std::vector<std::optional<DatasetFile>> files_;
  std::vector<std::vector<std::byte>> buffers_;
};

/// Combines numbered partial results in one order and one tree, in whatever order they come: the
/// tree of comm/reduction_tree.hpp, by its binary counter. Any thread may add.
template <class Partial>
class OrderedFold {
 public:
  /// `merge(lower, upper)` makes the result of neighbours.
  using Merge = std::function<Partial(const Partial& lower, const Partial& upper)>;
  explicit OrderedFold(Merge merge) : merge_(std::move(merge)) {}

  /// Each index of [0, n) once.
  void add(std::int64_t index, Partial partial) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(index, std::move(partial));
    for (auto found = waiting_.begin(); found != waiting_.end() && found->first == next_;
         found = waiting_.erase(found)) {
      push(std::move(found->second));
      ++next_;
    }
  }
  /// Nothing when nothing was added. The object is empty afterwards.
  std::optional<Partial> finish() {
    while (stack_.size() > 1) fold_top(0);
    if (stack_.empty()) return std::nullopt;
    auto whole = std::move(stack_.back().second);
    stack_.clear();
    return whole;
  }

 private:
  void push(Partial partial) {
    stack_.emplace_back(1, std::move(partial));
    while (stack_.size() > 1 && stack_.back().first == stack_[stack_.size() - 2].first) {
      fold_top(2 * stack_.back().first);
    }
  }
  void fold_top(std::int64_t leaves) {
    auto& lower = stack_[stack_.size() - 2];
    lower = {leaves, merge_(lower.second, stack_.back().second)};
    stack_.pop_back();
  }

  Merge merge_;
  std::mutex mutex_;
  std::map<std::int64_t, Partial> waiting_;
  std::vector<std::pair<std::int64_t, Partial>> stack_;  ///< leaves and their result
  std::int64_t next_ = 0;
};

}  // namespace lockstep::data::detail
