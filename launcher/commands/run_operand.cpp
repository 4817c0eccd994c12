#include "launcher/commands/run_operand.hpp"

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "launcher/run_card.hpp"

namespace lockstep::launcher {

void RunOperand::declare(CLI::App& app) {
  app.add_option("RUN", run_, "name, directory or 'latest'")->required();
  app.add_option("--directory", directory_, "where the runs lie")->type_name("DIR");
}

checkpoints::RunDirectory RunOperand::open() const {
  return checkpoints::RunDirectory::open(base::FileSystem::posix(), directory_, run_);
}

Tone tone_of_status(const std::string& status) {
  if (status == "done") return Tone::kGood;
  if (status == "failed" || status == "diverged") return Tone::kError;
  return Tone::kWarning;
}

std::string metrics_text(const checkpoints::RunRecord& record) {
  std::string text;
  for (const auto& [name, value] : record.metrics) {
    text += fmt::format("{}{} {}", text.empty() ? "" : "  ", name, format_metric(value));
  }
  return text;
}

}  // namespace lockstep::launcher
