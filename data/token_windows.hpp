#pragma once
// Where the samples of one long row of tokens begin. Used by SampleSource, and by whoever counts
// samples without opening one. Pure, any thread.

#include <cstdint>
#include <string_view>

namespace lockstep::data {

enum class TokenWindows {
  kFixed,    ///< sample i begins at i * context in every epoch
  kShifted,  ///< sample i begins at i * context + shift, a shift below context for each epoch
};

/// `fixed` or `shifted`. Throws ConfigError for another name.
TokenWindows token_windows_of(std::string_view name);

/// Samples of `context` tokens, each with the token after it, in `tokens` tokens. Shifted windows
/// are as many for every shift, so the last context tokens are in few epochs' samples, or in none.
/// `context` is at least 1. 0 or fewer when not even one fits.
std::int64_t window_count(std::int64_t tokens, std::int64_t context, TokenWindows windows);

/// How many tokens later than i * context the shifted windows of an epoch begin.
std::int64_t window_shift(std::uint64_t seed, std::int64_t epoch, std::int64_t context);

}  // namespace lockstep::data
