#include "base/clock.hpp"

#include <cstdio>
#include <ctime>
#include <thread>

namespace lockstep::base {
namespace {

class SystemClock final : public Clock {
 public:
  Duration now() const override { return std::chrono::steady_clock::now().time_since_epoch(); }
  Duration wall() const override { return std::chrono::system_clock::now().time_since_epoch(); }
  void sleep_for(Duration duration) override { std::this_thread::sleep_for(duration); }
};

}  // namespace

Clock& Clock::system() {
  static SystemClock clock;  // stateless
  return clock;
}

std::string format_utc(Clock::Duration wall) {
  const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(wall);
  const auto whole_seconds = std::chrono::floor<std::chrono::seconds>(milliseconds);
  const std::time_t seconds = whole_seconds.count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03dZ",
                static_cast<int>((milliseconds - whole_seconds).count()));
  return text;
}

}  // namespace lockstep::base
