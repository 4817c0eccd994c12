#include "data/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace lockstep::data::detail {

void for_each_index(std::int64_t count, int threads,
                    const std::function<void(int worker, std::int64_t index)>& use) {
  std::atomic<std::int64_t> next = 0;
  std::atomic<std::int64_t> failed = std::numeric_limits<std::int64_t>::max();
  std::mutex mutex;
  std::exception_ptr failure;

  // Whoever fails at an index stops all that comes after it, and nothing that comes before.
  const auto work = [&](int worker) {
    for (auto index = next++; index < std::min(count, failed.load()); index = next++) {
      try {
        use(worker, index);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (index < failed) {
          failed = index;
          failure = std::current_exception();
        }
      }
    }
  };
  std::vector<std::thread> helpers;
  const auto wanted = std::min<std::int64_t>(threads, count);
  try {
    for (int worker = 1; worker < wanted; ++worker) helpers.emplace_back(work, worker);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that run do all of it.
  }
  work(0);
  for (auto& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lockstep::data::detail
