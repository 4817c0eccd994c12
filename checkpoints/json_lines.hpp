#pragma once
// A file of one JSON object a line that only grows: events, metrics. A torn last line, as a crash
// leaves it, is ended before anything is added. One thread at a time.

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/file_system.hpp"

namespace lockstep::checkpoints {

class JsonLines {
 public:
  /// Throws IoError when the file cannot be written.
  JsonLines(base::FileSystem& files, const std::string& path);
  ~JsonLines();

  void append(const nlohmann::json& object);

 private:
  std::unique_ptr<base::WritableFile> file_;
};

/// Whole lines of a text file; a last line without a newline is not among them.
std::vector<std::string> whole_lines(const std::string& text);

/// Every line that parses; nothing when the file does not exist.
std::vector<nlohmann::json> read_json_lines(base::FileSystem& files, const std::string& path);

}  // namespace lockstep::checkpoints
