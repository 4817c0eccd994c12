#include "checkpoints/json_lines.hpp"

#include <nlohmann/json.hpp>

namespace lockstep::checkpoints {

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
