// `runs`: lists the runs of a directory.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "checkpoints/registry.hpp"
#include "launcher/commands/run_operand.hpp"

namespace lockstep::launcher {
namespace {

using checkpoints::RunRecord;

/// `2026-01-31 12:00` of an RFC 3339 time.
std::string short_time(std::string time) {
  time.resize(std::min<std::size_t>(time.size(), 16));
  if (time.size() == 16) time[10] = ' ';
  return time;
}

class Runs final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--directory", directory_, "where the runs lie")->type_name("DIR");
    app.add_flag("--json", json_, "as JSON");
  }

  int run(const Session& session) override {
    const auto list = checkpoints::list_runs(base::FileSystem::posix(), directory_);
    for (const auto& warning : list.warnings) {
      print_message(session.messages,
                    paint(session.messages, Tone::kWarning, "warning:") + " " + warning + "\n");
    }
    print(json_ ? as_json(list.runs) : as_text(list.runs, session.output));
    return 0;
  }

 private:
  static std::string as_json(const std::vector<RunRecord>& runs) {
    auto array = nlohmann::ordered_json::array();
    for (const auto& record : runs) {
      array.push_back(nlohmann::ordered_json::parse(to_json(record)));
    }
    return array.dump(2) + "\n";
  }

  std::string as_text(const std::vector<RunRecord>& runs, const Style& style) const {
    if (runs.empty()) {
      return fmt::format("no runs in {}; start one with 'lockstep train CONFIG'\n",
                         base::quote(directory_));
    }
    Table table({{"run"},
                 {"status"},
                 {"step", Table::Align::kRight},
                 {"epoch", Table::Align::kRight},
                 {"ranks", Table::Align::kRight},
                 {"started"},
                 {"metrics"}});
    for (const auto& record : runs) {
      table.add_row(
          {record.name, paint(style, tone_of_status(record.status), record.status),
           std::to_string(record.step), fmt::format("{:.4g}", record.epoch),
           record.world_sizes.empty() ? "" : std::to_string(record.world_sizes.back().world_size),
           short_time(record.started), metrics_text(record)});
    }
    return table.text(style);
  }

  std::string directory_ = "runs";
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_runs() { return std::make_unique<Runs>(); }

}  // namespace lockstep::launcher
