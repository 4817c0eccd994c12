#include "launcher/health_writer.hpp"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/clock.hpp"
#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::chrono::seconds kPeriod{1};

}  // namespace

std::string health_text(StatusBoard& board, const std::vector<int>& ranks, const std::string& host,
                        const std::string& time) {
  nlohmann::ordered_json json{{"time", time}, {"host", host}};
  auto& list = json["ranks"] = nlohmann::ordered_json::array();
  const auto now = base::monotonic_nanoseconds();
  for (const int rank : ranks) {
    auto& row = board.row(rank);
    if (row.pid() == 0) continue;  // on a board of its own
    list.push_back({{"rank", rank},
                    {"pid", row.pid()},
                    {"phase", base::name_of(row.position.phase())},
                    {"step", row.position.step()},
                    {"seconds_in_phase", static_cast<double>(now - row.position.entered()) * 1e-9},
                    {"waits_in", row.wait.read()}});
  }
  return json.dump(1) + "\n";
}

HealthWriter::HealthWriter(base::FileSystem& files, std::string path, StatusBoard& board,
                           std::vector<int> ranks, std::function<void()> each_time)
    : files_(files),
      path_(std::move(path)),
      board_(board),
      ranks_(std::move(ranks)),
      each_time_(std::move(each_time)),
      thread_([this] { run(); }) {}

HealthWriter::~HealthWriter() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void HealthWriter::run() {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    write();
    wake_.wait_for(lock, kPeriod, [this] { return ended_; });
  }
  write();
}

void HealthWriter::write() {
  if (each_time_) each_time_();
  try {
    files_.make_directories(base::parent_path(path_));
    const auto partial = path_ + ".partial";
    {
      // Not durable: nobody asks for a former second's health after a power cut.
      const auto out = files_.open(partial, base::OpenMode::kCreate);
      out->append(health_text(board_, ranks_, base::host_name(),
                              base::format_utc(base::Clock::system().wall())));
    }
    files_.rename(partial, path_);
  } catch (const base::Error&) {
  }
}

}  // namespace lockstep::launcher
