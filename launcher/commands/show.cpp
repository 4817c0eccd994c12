// `show RUN`: how a run stands, from its own files.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "checkpoints/registry.hpp"
#include "launcher/commands/run_operand.hpp"
#include "launcher/run_card.hpp"

namespace lockstep::launcher {
namespace {

class Show final : public Command {
 public:
  void declare(CLI::App& app) override {
    run_.declare(app);
    app.add_flag("--json", json_, "as JSON");
  }

  int run(const Session& session) override {
    const auto run = run_.open();
    const auto json = checkpoints::show_json(base::FileSystem::posix(), run);
    print(json_ ? json.dump(2) + "\n" : as_text(run, json, session.output));
    return 0;
  }

 private:
  static std::string as_text(const checkpoints::RunDirectory& run,
                             const nlohmann::ordered_json& json, const Style& style) {
    const auto record = checkpoints::record_of(run);
    std::string text;
    const auto add = [&](const char* label, const std::string& value) {
      if (!value.empty()) text += fmt::format("{:<13}{}\n", label, value);
    };
    add("run", paint(style, Tone::kStrong, record.name));
    add("status", paint(style, tone_of_status(record.status), record.status) + exit_text(record));
    add("reached", fmt::format("step {}, epoch {:.4g}", record.step, record.epoch));
    std::vector<std::string> sizes;
    for (const auto& change : record.world_sizes) {
      sizes.push_back(fmt::format("{} from step {}", change.world_size, change.step));
    }
    add("ranks", base::joined(sizes));
    add("restarts", record.restarts == 0 ? "" : std::to_string(record.restarts));
    add("metrics", metrics_text(record));
    add("state", state_text(record, json.at("checkpoints")));
    add("started", record.started);
    add("ended", record.ended);
    add("command", base::joined(record.command, " "));
    add("commit", record.commit + (record.dirty ? " with changes, see dirty.patch" : ""));
    add("build", record.build_id);
    add("config", record.config_hash);
    for (const auto& [use, data] : record.data) {
      add(use.c_str(),
          data.path +
              (data.samples == 0
                   ? ""
                   : fmt::format(", {} samples",
                                 base::format_count(static_cast<std::uint64_t>(data.samples)))));
    }
    add("parent", record.parent);
    add("files", run.path());
    return text + anatomy_text(record.step_anatomy, style) +
           checkpoints_text(json.at("checkpoints"), style);
  }

  /// The digest, and its step where that is not the one reached.
  static std::string state_text(const checkpoints::RunRecord& record,
                                const nlohmann::ordered_json& list) {
    for (const auto& checkpoint : list) {
      const auto step = checkpoint.at("step").get<std::int64_t>();
      if (step != record.step && checkpoint.at("state_digest") == record.state_digest) {
        return fmt::format("{} (of step {})", record.state_digest, step);
      }
    }
    return record.state_digest;
  }

  static std::string exit_text(const checkpoints::RunRecord& record) {
    if (record.exit_code >= 0) return fmt::format(" (exit code {})", record.exit_code);
    if (record.status == "running") return "";
    return fmt::format(" (all its processes were ended; go on with 'lockstep resume {}')",
                       record.name);
  }

  /// Milliseconds a step by phase, over ranks.
  static std::string anatomy_text(const checkpoints::StepAnatomy& anatomy, const Style& style) {
    if (anatomy.steps == 0) return "";
    Table table({{"a step (ms)"},
                 {"fastest rank", Table::Align::kRight},
                 {"median", Table::Align::kRight},
                 {"slowest rank", Table::Align::kRight}});
    const auto milliseconds = [](double seconds) { return fmt::format("{:.4g}", seconds * 1e3); };
    for (const auto& phase : anatomy.phases) {
      table.add_row({phase.name, milliseconds(phase.min), milliseconds(phase.median),
                     milliseconds(phase.max)});
    }
    const auto straggler = straggler_text(anatomy);
    return "\n" + table.text(style) +
           (straggler.empty() ? "" : fmt::format("{:<13}{}\n", "straggler", straggler));
  }

  static std::string checkpoints_text(const nlohmann::ordered_json& list, const Style& style) {
    if (list.empty()) return "checkpoints  none\n";
    Table table({{"checkpoint"},
                 {"step", Table::Align::kRight},
                 {"size", Table::Align::kRight},
                 {"state"}});
    for (const auto& checkpoint : list) {
      const auto path = checkpoint.at("path").get<std::string>();
      table.add_row({path.substr(path.rfind('/') + 1),
                     std::to_string(checkpoint.at("step").get<std::int64_t>()),
                     base::format_bytes(checkpoint.at("bytes").get<std::uint64_t>()),
                     checkpoint.at("state_digest").get<std::string>().substr(0, 16)});
    }
    return "\n" + table.text(style);
  }

  RunOperand run_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_show() { return std::make_unique<Show>(); }

}  // namespace lockstep::launcher
