#include "configs/text_checks.hpp"

#include <algorithm>
#include <string_view>

#include "base/narrow.hpp"
#include "base/text.hpp"
#include "configs/values.hpp"

namespace lockstep::configs {
namespace {

int line_number(std::string_view text, std::size_t offset) {
  const auto* end = text.data() + offset;
  return base::narrow<int>(1 + std::count(text.data(), end, '\n'));
}

/// Offset of the first '%' that starts a line; a byte order mark before it does not count.
std::size_t find_directive(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  for (auto at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 1)) {
    auto before = text.substr(0, at);
    while (before.ends_with(kByteOrderMark)) before.remove_suffix(kByteOrderMark.size());
    if (before.empty() || before.back() == '\n' || before.back() == '\r') return at;
  }
  return std::string_view::npos;
}

/// True when some '?' could be the sign of an explicit key.
bool may_have_explicit_key(std::string_view text) {
  for (auto at = text.find('?'); at != std::string_view::npos; at = text.find('?', at + 1)) {
    const auto next = at + 1 < text.size() ? static_cast<unsigned char>(text[at + 1]) : 0u;
    if (next <= 0x20 || next >= 0x7f) return true;
  }
  return false;
}

}  // namespace

bool check_text(const std::shared_ptr<const Source>& source, Problems& problems) {
  const std::string_view text = source->text;
  const auto refuse = [&](std::string message, int line, std::string advice) {
    problems.add(std::move(message), {source, line, line > 0 ? 1 : 0, 1}, std::move(advice));
    problems.set_incomplete();
    return false;
  };
  if (text.size() > kMostFileBytes) {
    return refuse(base::quote(source->name) + " is larger than " +
                      base::format_bytes(kMostFileBytes) + " (no configuration is)",
                  0, "check that it is the right file");
  }
  if (const auto at = invalid_text(text)) {
    return refuse("a character is not UTF-8 text (a configuration is a text file)",
                  line_number(text, *at), "save the file as UTF-8");
  }
  // libfyaml 0.7.12 takes time in the square of a directive's length.
  if (const auto at = find_directive(text); at != std::string_view::npos) {
    return refuse("a line starts with '%' (a configuration has no YAML directives)",
                  line_number(text, at), "remove the line");
  }
  // libfyaml 0.7.12 frees memory twice for `? b:<tab>|` and the like.
  const auto tab = text.find('\t');
  if (tab != std::string_view::npos && may_have_explicit_key(text)) {
    return refuse("a tab stands in a text with a lone '?' (together they break the YAML parser)",
                  line_number(text, tab), "use spaces instead of tabs");
  }
  return true;
}

}  // namespace lockstep::configs
