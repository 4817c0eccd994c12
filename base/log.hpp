#pragma once
// Messages to people: a line on standard error, and one JSON object a line in the rank's log file.
// Passed to whoever needs it; libraries below the mains never print by themselves.
// Every method may be called from any thread; the Log must outlive its users.

#include <memory>
#include <string>
#include <string_view>

namespace lockstep::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogOptions {
  LogLevel terminal_level = LogLevel::kInfo;  ///< what reaches standard error; files get all
  std::string prefix{};                       ///< before each terminal line, e.g. `rank 3: `
  std::string json_path{};                    ///< file that gets one JSON object a line, or empty
  int rank = 0;
  std::string host{};
};

class Log {
 public:
  explicit Log(LogOptions options = {});
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void debug(std::string_view text) { write(LogLevel::kDebug, text); }
  void info(std::string_view text) { write(LogLevel::kInfo, text); }
  void warning(std::string_view text) { write(LogLevel::kWarning, text); }
  void error(std::string_view text) { write(LogLevel::kError, text); }
  void write(LogLevel level, std::string_view text);

  /// Starts the JSON file later than the terminal (the run directory is made after start-up).
  /// Throws IoError when the file cannot be opened.
  void open_json(const std::string& path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::base
