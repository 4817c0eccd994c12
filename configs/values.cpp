#include "configs/values.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

namespace lockstep::configs {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string lower(std::string_view text) {
  std::string result(text);
  for (auto& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

/// from_chars knows no plus sign; one before another sign stays and is refused there.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '+' && text[1] != '-';
  return plus ? text.substr(1) : text;
}

bool looks_decimal(std::string_view text) {
  return !text.empty() && std::any_of(text.begin(), text.end(), is_digit) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_digit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
         });
}

NumberProblem parse_digits(std::string_view text, int base, std::int64_t& value) {
  if (text.empty() || (base != 10 && text.starts_with('-'))) return NumberProblem::kNotANumber;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (end != text.data() + text.size()) return NumberProblem::kNotANumber;
  if (error == std::errc::result_out_of_range) return NumberProblem::kTooLarge;
  return error == std::errc() ? NumberProblem::kNone : NumberProblem::kNotANumber;
}

/// What stands for the start of `text` between double quotes, and how many bytes it stands for;
/// length 0 when the next byte stands for itself.
std::pair<std::string, std::size_t> escape_at(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text.front());
  if (byte == '"' || byte == '\\') return {std::string("\\") + text.front(), 1};
  if (text.starts_with("${")) return {"$${", 2};
  std::array<char, 8> buffer{};
  if (byte < 0x20 || byte == 0x7f) {
    std::snprintf(buffer.data(), buffer.size(), "\\x%02x", byte);
    return {buffer.data(), 1};
  }
  // Characters that YAML reads as line breaks or does not print.
  if (byte == 0xc2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xa0) {
    std::snprintf(buffer.data(), buffer.size(), "\\x%02x", static_cast<unsigned char>(text[1]));
    return {buffer.data(), 2};
  }
  if (text.starts_with("\u2028")) return {"\\u2028", 3};
  if (text.starts_with("\u2029")) return {"\\u2029", 3};
  if (text.starts_with("\ufeff")) return {"\\ufeff", 3};
  if (text.starts_with("\ufffe")) return {"\\ufffe", 3};
  if (text.starts_with("\uffff")) return {"\\uffff", 3};
  return {{}, 0};
}

bool needs_quotes(std::string_view text) {
  static constexpr std::array kWords{"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  if (text.empty() || !(is_letter(text.front()) || text.front() == '/')) return true;
  const bool simple = std::all_of(text.begin(), text.end(), [](char c) {
    return is_digit(c) || is_letter(c) || c == '_' || c == '-' || c == '.' || c == '/';
  });
  return !simple || std::find(kWords.begin(), kWords.end(), lower(text)) != kWords.end();
}

}  // namespace

NumberProblem parse_integer(std::string_view text, std::int64_t& value) {
  if (text.starts_with("0x")) return parse_digits(text.substr(2), 16, value);
  if (text.starts_with("0o")) return parse_digits(text.substr(2), 8, value);
  const auto problem_with_digits = parse_digits(without_plus(text), 10, value);
  if (problem_with_digits != NumberProblem::kNotANumber) return problem_with_digits;
  double real = 0;
  const auto problem = parse_real(text, real);
  if (problem != NumberProblem::kNone) return problem;
  if (real != std::trunc(real)) return NumberProblem::kNotWhole;
  // Beyond 2^53 the text and the double may be different numbers.
  if (std::abs(real) > 9007199254740992.0) return NumberProblem::kTooLarge;
  value = static_cast<std::int64_t>(real);
  return NumberProblem::kNone;
}

NumberProblem parse_real(std::string_view text, double& value) {
  auto word = lower(text);
  if (word.starts_with('+') || word.starts_with('-')) word.erase(0, 1);
  if (word.starts_with('.')) word.erase(0, 1);
  if (word == "inf" || word == "nan" || word == "infinity") return NumberProblem::kNotFinite;
  if (!looks_decimal(text)) return NumberProblem::kNotANumber;
  text = without_plus(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return NumberProblem::kNotANumber;
  if (error == std::errc::result_out_of_range) return NumberProblem::kTooLarge;
  if (error != std::errc()) return NumberProblem::kNotANumber;
  return NumberProblem::kNone;
}

std::string format_real(double value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), result.ptr};
}

std::optional<std::size_t> invalid_text(std::string_view text) {
  const auto byte_at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned first = byte_at(i);
    if (first == 0) return i;
    std::size_t length = 1;
    unsigned low = 0x80;
    unsigned high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
      length = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
      length = 3;
      if (first == 0xe0) low = 0xa0;
      if (first == 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      length = 4;
      if (first == 0xf0) low = 0x90;
      if (first == 0xf4) high = 0x8f;
    } else if (first >= 0x80) {
      return i;
    }
    for (std::size_t k = 1; k < length; ++k) {
      if (byte_at(i + k) < low || byte_at(i + k) > high) return i;
      low = 0x80;
      high = 0xbf;
    }
    i += length;
  }
  return std::nullopt;
}

std::string yaml_text(std::string_view text) {
  if (!needs_quotes(text)) return std::string(text);
  std::string result = "\"";
  for (std::size_t i = 0; i < text.size();) {
    if (const auto [escape, length] = escape_at(text.substr(i)); length > 0) {
      result += escape;
      i += length;
    } else {
      result += text[i++];
    }
  }
  return result + "\"";
}

}  // namespace lockstep::configs
