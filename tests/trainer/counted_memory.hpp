#pragma once
// How many bytes LibTorch has on the CPU at most while something runs. One thread measures at a
// time; what other threads allocate counts as well.

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>

namespace lockstep::tests {

class CountedMemory {
 public:
  CountedMemory() { counter().install(); }
  ~CountedMemory() { counter().remove(); }
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;

  /// Since it was made, beyond what was there.
  std::int64_t most() const { return counter().most; }

 private:
  class Counter final : public c10::Allocator {
   public:
    void install() {
      now = most = 0;
      before_ = c10::GetCPUAllocator();
      c10::SetCPUAllocator(this, kPriority++);
    }
    void remove() { c10::SetCPUAllocator(before_, kPriority++); }
    c10::DataPtr allocate(std::size_t bytes) override {
      auto block = before_->allocate(bytes);
      const auto size = static_cast<std::int64_t>(bytes);
      most = std::max<std::int64_t>(most, now += size);
      auto* data = block.get();
      auto* held = new Held{std::move(block), size, this};
      return {data, held, &release, at::kCPU};
    }
    c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
    void copy_data(void* to, const void* from, std::size_t bytes) const override {
      default_copy_data(to, from, bytes);
    }

    std::atomic<std::int64_t> now{0}, most{0};

   private:
    struct Held {
      c10::DataPtr block;
      std::int64_t size;
      Counter* counter;
    };
    static void release(void* context) {
      auto* held = static_cast<Held*>(context);
      held->counter->now -= held->size;
      delete held;
    }
    static inline std::uint8_t kPriority = 1;
    c10::Allocator* before_ = nullptr;
  };
  static Counter& counter() {
    static Counter counter;
    return counter;
  }
};

}  // namespace lockstep::tests
