// `drill [NAME ...]`: breaks runs of this installation on purpose and says which of them end as
// they must.

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/drills/drill_data.hpp"
#include "launcher/drills/drill_lab.hpp"
#include "launcher/drills/drill_text.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

constexpr int kLongestPatience = 86400;

class DrillCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("NAME", names_, "drills to run, otherwise all");
    app.add_option("--ranks", ranks_, "ranks of each run (2)")
        ->type_name("N")
        ->check(CLI::Range(1, kMostDrillRanks));
    app.add_option("--directory", directory_, "where their folder is made, otherwise $TMPDIR")
        ->type_name("DIR");
    app.add_option("--patience", patience_, "seconds that one launch may take (120)")
        ->type_name("SECONDS")
        ->check(CLI::Range(1, kLongestPatience));
    app.add_flag("--keep", keep_, "keep the folder, which is removed when all pass");
    app.add_flag("--list", list_, "say what each drill does, and run none");
    app.add_flag("--json", json_, "as JSON");
    app.footer("example: lockstep drill kill-step freeze --ranks 4");
  }

  int run(const Session& session) override {
    const auto drills = choose_drills(all_drills(ranks_), names_);
    if (list_) {
      print(json_ ? drill_list_json(drills).dump(2) + "\n" : drill_list(session.output, drills));
      return 0;
    }
    require_worker(session.environment);
    return run_drills(session, drills);
  }

 private:
  int run_drills(const Session& session, const std::vector<Drill>& chosen) {
    const auto& clock = base::Clock::system();
    const auto begin = clock.now();
    DrillLab lab({.lockstep = std::filesystem::read_symlink("/proc/self/exe"),
                  .environment = session.environment,
                  .parent = parent_folder(session),
                  .patience = std::chrono::seconds(patience_)});
    write_drill_data(lab.folder());

    std::vector<Drill> drills{{"undisturbed", "nothing", {{.ranks = ranks_}}}};
    drills.insert(drills.end(), chosen.begin(), chosen.end());
    show(session, drill_header(style(session), drills));
    std::vector<DrillResult> results;
    std::string digest;
    for (const auto& drill : drills) {
      auto observed = lab.run(drill);
      if (results.empty() && observed.run) digest = observed.run->state_digest;
      auto problems = differences(drill, observed, digest);
      results.push_back({drill, std::move(observed), std::move(problems), lab.log_path(drill)});
      show(session, drill_line(style(session), drills, results.back()));
      // Without a run that works there is nothing to hold the others against.
      if (results.size() == 1 && !results[0].problems.empty()) break;
    }
    return end(session, lab, results, clock.now() - begin);
  }

  int end(const Session& session, DrillLab& lab, const std::vector<DrillResult>& results,
          std::chrono::nanoseconds took) const {
    const bool passed =
        std::ranges::all_of(results, [](const auto& result) { return result.problems.empty(); });
    const bool keep = keep_ || !passed;
    const auto folder = keep ? lab.folder() : std::string();
    if (!keep) lab.remove();
    if (json_) {
      print(drill_json(results, ranks_, folder).dump(2) + "\n");
    } else {
      print(drill_summary(session.output, results, ranks_, took, folder));
    }
    if (!results[0].problems.empty()) {
      print_message(session.messages,
                    "the undisturbed run failed, so no drill was run; 'lockstep doctor' checks "
                    "what a run needs\n");
    }
    return static_cast<int>(passed ? base::ExitCode::kDone : base::ExitCode::kGate);
  }

  std::string parent_folder(const Session& session) const {
    if (!directory_.empty()) return directory_;
    const auto place = session.environment.find("TMPDIR");
    return place == session.environment.end() || place->second.empty() ? "/tmp" : place->second;
  }

  /// The table is the result, or tells how it goes where the result is JSON.
  void show(const Session& session, const std::string& text) const {
    if (json_) {
      print_message(session.messages, text);
    } else {
      print(text);
    }
  }
  const Style& style(const Session& session) const {
    return json_ ? session.messages : session.output;
  }

  std::vector<std::string> names_;
  int ranks_ = 2;
  int patience_ = 120;
  std::string directory_;
  bool keep_ = false;
  bool list_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_drill() { return std::make_unique<DrillCommand>(); }

}  // namespace lockstep::launcher
