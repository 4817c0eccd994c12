#include "checkpoints/json_lines.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace lockstep::checkpoints {
namespace {

template <class Number>
void append_number(std::string& text, Number value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  text.append(digits.data(), end);
}

void append_string(std::string& text, std::string_view value) {
  const bool plain = std::ranges::all_of(
      value, [](char c) { return c >= ' ' && c < 127 && c != '"' && c != '\\'; });
  if (plain) {
    text.append(1, '"').append(value).append(1, '"');
  } else {
    text += nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
}

}  // namespace

void JsonLine::begin_member(std::string_view name) {
  if (text_.size() > 1) text_ += ',';
  append_string(text_, name);
  text_ += ':';
}

JsonLine& JsonLine::add(std::string_view name, std::int64_t value) {
  begin_member(name);
  append_number(text_, value);
  return *this;
}

JsonLine& JsonLine::add(std::string_view name, double value) {
  begin_member(name);
  if (std::isfinite(value)) {
    const auto before = text_.size();
    append_number(text_, value);
    // 1.0, not 1: readers that tell the two apart see a number of the same kind in each line.
    if (text_.find_first_of(".e", before) == std::string::npos) text_ += ".0";
  } else {
    text_ += "null";
  }
  return *this;
}

JsonLine& JsonLine::add(std::string_view name, std::string_view value) {
  begin_member(name);
  append_string(text_, value);
  return *this;
}

std::string JsonLine::finish() {
  text_ += '}';
  return std::move(text_);
}

JsonLines::JsonLines(base::FileSystem& files, const std::string& path) {
  const auto size = files.file_size(path).value_or(0);
  file_ = files.open(path, base::OpenMode::kAppend);
  if (size == 0) return;
  std::byte last{};
  files.read_at(path, size - 1, {&last, 1});
  if (last != std::byte{'\n'}) file_->append(std::string_view("\n"));
}

JsonLines::~JsonLines() = default;

void JsonLines::append(const nlohmann::json& object) {
  file_->append(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void JsonLines::append(JsonLine& line) { file_->append(line.finish() + "\n"); }

std::vector<std::string> whole_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::vector<nlohmann::json> read_json_lines(base::FileSystem& files, const std::string& path) {
  std::vector<nlohmann::json> objects;
  if (!files.file_size(path)) return objects;
  for (const auto& line : whole_lines(files.read_text(path))) {
    auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (object.is_object()) objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace lockstep::checkpoints
