#include "launcher/step_range.hpp"

#include <charconv>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

std::int64_t step_in(std::string_view text, std::string_view whole) {
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  if (error == std::errc() && end == text.data() + text.size() && step >= 1) return step;
  throw base::ConfigError("steps " + base::quote(whole) +
                          " cannot be read (a first and a last step, counted from 1); write for "
                          "example steps=20:25");
}

}  // namespace

StepRange parse_steps(std::string_view text) {
  constexpr std::string_view kName = "steps=";
  const auto range = text.starts_with(kName) ? text.substr(kName.size()) : text;
  const auto colon = range.find(':');
  StepRange steps;
  steps.first = step_in(range.substr(0, colon), text);
  steps.last =
      colon == std::string_view::npos ? steps.first : step_in(range.substr(colon + 1), text);
  if (steps.last < steps.first) {
    throw base::ConfigError("steps " + base::quote(text) +
                            " end before they begin (the first one comes first); write for "
                            "example steps=20:25");
  }
  return steps;
}

}  // namespace lockstep::launcher
