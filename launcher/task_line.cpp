#include "launcher/task_line.hpp"

#include <cstdio>

namespace lockstep::launcher {
namespace {

constexpr std::chrono::seconds kPatience{1};
constexpr std::chrono::milliseconds kBetweenDraws{100};

}  // namespace

TaskLine::~TaskLine() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

std::string TaskLine::due(std::string_view phase, std::uint64_t done, std::uint64_t total) {
  if (!style_.terminal) return {};
  const auto now = clock_.now();
  if (phase != phase_) {
    phase_ = phase;
    phase_start_ = now;
  }
  if (now - start_ < kPatience || (drawn_ && now - last_drawn_ < kBetweenDraws)) return {};
  drawn_ = true;
  last_drawn_ = now;
  base::Clock::Duration remaining{-1};
  if (done > 0 && done <= total) {
    const auto share = static_cast<double>(total - done) / static_cast<double>(done);
    remaining = std::chrono::duration_cast<base::Clock::Duration>((now - phase_start_) * share);
  }
  return format_task(style_, phase, done, total, remaining);
}

void TaskLine::show(std::string_view phase, std::uint64_t done, std::uint64_t total) {
  const auto line = due(phase, done, total);
  if (line.empty()) return;
  const auto bytes = progress_bytes(style_, line);
  std::fwrite(bytes.data(), 1, bytes.size(), stderr);
}

}  // namespace lockstep::launcher
