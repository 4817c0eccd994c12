#pragma once
// Text that people read: nearest names, durations, sizes, quoting. Pure functions, any thread.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::base {

/// The candidate closest to `word` by optimal string alignment distance (Damerau 1964, adjacent
/// transpositions count one), or nothing when none is close enough to be a likely typo.
std::optional<std::string> nearest_name(std::string_view word,
                                        std::span<const std::string> candidates);

/// `850ms`, `4.2s`, `1m12s`, `3h05m`, `2d04h`.
std::string format_duration(std::chrono::nanoseconds duration);

/// `512 B`, `64 KiB`, `1.5 GiB`: binary units, one decimal where it says something.
std::string format_bytes(std::uint64_t bytes);

/// `1,234,567`.
std::string format_count(std::uint64_t count);

/// `950`, `8.4k`, `12k`, `1.2M`: one decimal below ten.
std::string format_rate(double per_second);

/// `'text'`, with control characters escaped.
std::string quote(std::string_view text);

/// `a, b, c`.
std::string joined(std::span<const std::string> parts, std::string_view separator = ", ");

/// `rank 3`, `ranks 1, 3`; long lists are cut: `ranks 0, 1, 2, 3, 4, 5, 6, 7 and 24 more`.
std::string rank_list(std::span<const int> ranks);

/// `text` cut at each `separator`; an empty text has no parts.
std::vector<std::string> split(std::string_view text, char separator);

}  // namespace lockstep::base
