#pragma once
// What a rank waits for, once a wait gets long: written by the rank that waits, read by anybody,
// across processes too. A sequence lock (Boehm 2012, "Can seqlocks get along with programming
// language memory models?"): the writer never waits, a reader that met a change tries again.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace lockstep::base {

class WaitNote {
 public:
  /// The rank waits in `operation` (`node barrier 'losses'`, cut to what fits). Owner's thread.
  void waits(std::string_view operation) { write(operation); }
  /// It goes on. Owner's thread; costs a load when no wait was noted.
  void goes_on() {
    if (length_.load(std::memory_order_relaxed) != 0) write({});
  }
  /// The operation, empty when the rank does not wait. Any thread.
  std::string read() const {
    for (int attempt = 0; attempt < 100; ++attempt) {
      const auto before = sequence_.load(std::memory_order_acquire);
      std::string text(length_.load(std::memory_order_relaxed) % (kWords * 8 + 1), '\0');
      for (std::size_t i = 0; i * 8 < text.size(); ++i) {
        const auto word = words_[i].load(std::memory_order_relaxed);
        std::memcpy(text.data() + i * 8, &word, std::min<std::size_t>(8, text.size() - i * 8));
      }
      std::atomic_thread_fence(std::memory_order_acquire);
      const bool unchanged = sequence_.load(std::memory_order_relaxed) == before;
      if (unchanged && before % 2 == 0) return text;
    }
    return {};  // its owner died while writing
  }

 private:
  static constexpr std::size_t kWords = 16;

  void write(std::string_view text) {
    text = text.substr(0, kWords * 8);
    const auto sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    for (std::size_t i = 0; i * 8 < text.size(); ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + i * 8, std::min<std::size_t>(8, text.size() - i * 8));
      words_[i].store(word, std::memory_order_relaxed);
    }
    length_.store(static_cast<std::uint32_t>(text.size()), std::memory_order_relaxed);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  std::atomic<std::uint32_t> sequence_{0};
  std::atomic<std::uint32_t> length_{0};
  std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

}  // namespace lockstep::base
