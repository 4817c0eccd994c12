#pragma once
// A numbered list of work on several threads. Internal to data/.

#include <cstdint>
#include <functional>

namespace lockstep::data::detail {

/// Calls `use(worker, index)` once for each index in [0, count), on `threads` threads at most (the
/// caller's is one of them); `worker` is below `threads`. Indices are begun in ascending order.
/// When calls throw, the exception of the lowest index is thrown on, whatever the number of
/// threads; later indices may then be left out.
void for_each_index(std::int64_t count, int threads,
                    const std::function<void(int worker, std::int64_t index)>& use);

}  // namespace lockstep::data::detail
