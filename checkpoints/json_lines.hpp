#pragma once
// A file of one JSON object a line that only grows: events, metrics. A torn last line, as a crash
// leaves it, is ended before anything is added. One thread at a time.

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::checkpoints {

/// One JSON object as text, member by member: for lines that are written each step, where building
/// and walking a tree of values would cost more than the step's own bookkeeping.
class JsonLine {
 public:
  JsonLine& add(std::string_view name, std::int64_t value);
  /// The shortest text that reads back as the same number; null for what JSON has no number for.
  JsonLine& add(std::string_view name, double value);
  JsonLine& add(std::string_view name, std::string_view value);
  /// The object, without a newline. Ends the line.
  std::string finish();

 private:
  void begin_member(std::string_view name);

  std::string text_ = "{";
};

class JsonLines {
 public:
  /// Throws IoError when the file cannot be written.
  JsonLines(base::FileSystem& files, const std::string& path);
  ~JsonLines();

  void append(const nlohmann::json& object);
  void append(JsonLine& line);

 private:
  std::unique_ptr<base::WritableFile> file_;
};

/// Whole lines of a text file; a last line without a newline is not among them.
std::vector<std::string> whole_lines(const std::string& text);

/// Every line that parses; nothing when the file does not exist.
std::vector<nlohmann::json> read_json_lines(base::FileSystem& files, const std::string& path);

}  // namespace lockstep::checkpoints
