#include "base/log.hpp"

#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/file_system.hpp"

namespace lockstep::base {
namespace {

const char* name_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "info";
}

}  // namespace

struct Log::State {
  LogOptions options;
  std::mutex mutex;
  std::unique_ptr<WritableFile> json;
};

Log::Log(LogOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  if (!state_->options.json_path.empty()) open_json(state_->options.json_path);
}

Log::~Log() = default;

void Log::open_json(const std::string& path) {
  auto file = FileSystem::posix().open(path, OpenMode::kAppend);
  const std::lock_guard lock(state_->mutex);
  state_->json = std::move(file);
}

void Log::write(LogLevel level, std::string_view text) {
  const std::lock_guard lock(state_->mutex);
  if (level >= state_->options.terminal_level) {
    const char* label = level == LogLevel::kError     ? "error: "
                        : level == LogLevel::kWarning ? "warning: "
                                                      : "";
    std::string line = state_->options.prefix + label;
    line += text;
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
  if (state_->json) {
    const nlohmann::json entry{{"time", format_utc(Clock::system().wall())},
                               {"level", name_of(level)},
                               {"rank", state_->options.rank},
                               {"host", state_->options.host},
                               {"message", std::string(text)}};
    try {
      state_->json->append(entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                           "\n");
    } catch (const std::exception& error) {
      // A full disk must not end a run through its log: say so once and go on without.
      std::fprintf(stderr, "warning: log file closed: %s\n", error.what());
      state_->json.reset();
    }
  }
}

}  // namespace lockstep::base
