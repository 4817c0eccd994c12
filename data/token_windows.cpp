#include "data/token_windows.hpp"

#include "base/error.hpp"
#include "base/philox.hpp"
#include "base/text.hpp"

namespace lockstep::data {

TokenWindows token_windows_of(std::string_view name) {
  if (name == "fixed") return TokenWindows::kFixed;
  if (name == "shifted") return TokenWindows::kShifted;
  throw base::ConfigError("token windows " + base::quote(name) +
                          " are unknown (fixed and shifted exist); choose one");
}

std::int64_t window_count(std::int64_t tokens, std::int64_t context, TokenWindows windows) {
  // The last sample's last target is a token, too; shifted, that must hold for context - 1 more.
  return windows == TokenWindows::kFixed ? (tokens - 1) / context : tokens / context - 1;
}

std::int64_t window_shift(std::uint64_t seed, std::int64_t epoch, std::int64_t context) {
  const auto word = base::keyed_random(seed, base::RandomPurpose::kTokenWindows,
                                       static_cast<std::uint64_t>(epoch), 0);
  return static_cast<std::int64_t>(word % static_cast<std::uint64_t>(context));
}

}  // namespace lockstep::data
