#include "launcher/worker_failure.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "checkpoints/json_lines.hpp"
#include "checkpoints/run_directory.hpp"
#include "launcher/settle_run.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {
namespace {

/// Holds the events file against the other ranks.
class EventsLock {
 public:
  explicit EventsLock(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ >= 0) ::flock(descriptor_, LOCK_EX);
  }
  ~EventsLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  EventsLock(const EventsLock&) = delete;
  EventsLock& operator=(const EventsLock&) = delete;

 private:
  int descriptor_;
};

/// The grammar puts what to do behind the last semicolon.
std::pair<std::string, std::string> split_advice(const std::string& message) {
  const auto semicolon = message.rfind("; ");
  if (semicolon == std::string::npos) return {message, ""};
  return {message.substr(0, semicolon), message.substr(semicolon + 2)};
}

}  // namespace

const char* cause_of(base::ExitCode code) {
  switch (code) {
    case base::ExitCode::kUsage: return "config";
    case base::ExitCode::kData: return "data";
    case base::ExitCode::kEnvironment: return "environment";
    case base::ExitCode::kDiverged: return "diverged";
    case base::ExitCode::kCheckpoint: return "checkpoint";
    case base::ExitCode::kInterrupted:
    case base::ExitCode::kTerminated: return "stopped";
    default: return "failed";
  }
}

bool note_first_failure(base::FileSystem& files, const std::string& run_path,
                        std::uint64_t events_start, const FailureNote& note) noexcept {
  try {
    const auto run = checkpoints::RunDirectory::open(files, ".", run_path);
    const EventsLock lock(run.events_path());
    if (read_events(files, run.events_path(), events_start).verdict) return false;
    const auto [message, advice] = split_advice(note.message);
    const auto time = base::format_utc(base::Clock::system().wall());
    const auto code = static_cast<int>(note.code);
    checkpoints::JsonLines(files, run.events_path())
        .append({{"event", "failure"},
                 {"time", time},
                 {"cause", cause_of(note.code)},
                 {"rank", note.rank},
                 {"host", note.host},
                 {"phase", base::name_of(note.phase)},
                 {"step", note.step},
                 {"message", message},
                 {"advice", advice},
                 {"exit_code", code}});
    end_record(run, code, time);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "warning: the failure could not be noted in the run: %s\n", error.what());
  }
  return true;
}

std::string describe(const FailureNote& note, int world_size) {
  if (world_size == 1) return note.message;
  return "rank " + std::to_string(note.rank) + " on host " + note.host + ", phase " +
         base::name_of(note.phase) + ", step " + std::to_string(note.step) + ": " + note.message;
}

}  // namespace lockstep::launcher
