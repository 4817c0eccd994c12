#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace lockstep::base {
namespace {

std::size_t alignment_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

std::string with_decimal(double value, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f%s" : "%.0f%s", value, unit);
  return text;
}

}  // namespace

std::optional<std::string> nearest_name(std::string_view word,
                                        std::span<const std::string> candidates) {
  const std::string* best = nullptr;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    const auto distance = alignment_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = &candidate;
    }
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const auto count = duration.count();
  if (count < 0) {
    // The least number has no positive twin.
    return "-" + format_duration(duration == duration.min() ? duration.max() : -duration);
  }
  char text[48];
  const double seconds = static_cast<double>(count) * 1e-9;
  if (count < 1'000) {
    std::snprintf(text, sizeof text, "%dns", static_cast<int>(count));
  } else if (seconds < 999.5e-6) {
    return with_decimal(seconds * 1e6, "us");
  } else if (seconds < 0.9995) {
    return with_decimal(seconds * 1e3, "ms");
  } else if (seconds < 59.95) {
    std::snprintf(text, sizeof text, "%.1fs", seconds);
  } else {
    const auto total = std::llround(seconds);
    if (total < 3600) {
      std::snprintf(text, sizeof text, "%lldm%02llds", total / 60, total % 60);
    } else if (total < 86400) {
      std::snprintf(text, sizeof text, "%lldh%02lldm", total / 3600, total / 60 % 60);
    } else {
      std::snprintf(text, sizeof text, "%lldd%02lldh", total / 86400, total / 3600 % 24);
    }
  }
  return text;
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[48];
  const bool whole =
      value >= 99.95 || value == static_cast<double>(static_cast<std::uint64_t>(value));
  std::snprintf(text, sizeof text, whole ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string format_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (auto position = static_cast<std::ptrdiff_t>(text.size()) - 3; position > 0; position -= 3) {
    text.insert(static_cast<std::size_t>(position), ",");
  }
  return text;
}

std::string format_rate(double per_second) {
  static constexpr std::array kUnits{"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  while (per_second >= 999.5 && unit + 1 < kUnits.size()) {
    per_second /= 1000;
    ++unit;
  }
  return with_decimal(per_second, kUnits[unit]);
}

std::string quote(std::string_view text) {
  std::string result = "'";
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    if (code < 0x20 || code == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", code);
      result += escape;
    } else {
      result += character;
    }
  }
  return result + "'";
}

std::string joined(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (const auto& part : parts) {
    if (&part != parts.data()) text += separator;
    text += part;
  }
  return text;
}

std::string rank_list(std::span<const int> ranks) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> parts;
  for (const int rank : ranks.first(std::min(ranks.size(), kShown))) {
    parts.push_back(std::to_string(rank));
  }
  std::string text = (ranks.size() == 1 ? "rank " : "ranks ") + joined(parts);
  if (ranks.size() > kShown) text += " and " + std::to_string(ranks.size() - kShown) + " more";
  return text;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  std::size_t begin = 0;
  for (;;) {
    const auto end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

}  // namespace lockstep::base
