#include "launcher/replay_text.hpp"

#include <cstdio>

#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::size_t kShownSamples = 16;
constexpr std::size_t kShownDifferences = 8;

/// Enough digits that numbers which differ look different.
std::string in_full(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

}  // namespace

std::string replay_text(const trainer::ReplayReport& report, const Style& style) {
  Table table({{"step", Table::Align::kRight}, {"loss"}, {"gradient norm"}, {"bits"}});
  std::size_t different = 0;
  for (const auto& step : report.steps) {
    const bool last = &step == &report.steps.back();
    if (!step.same()) ++different;
    if (!last && (step.same() || different > kShownDifferences)) continue;
    std::string bits = step.same() ? "same" : "differ from the ledger's";
    if (step.skipped) bits += ", update dropped";
    if (step.diverged) bits += ", diverged and ended the run";
    table.add_row(
        {std::to_string(step.step), in_full(step.loss), in_full(step.gradient_norm), bits});
    if (step.same()) continue;
    table.add_row(
        {"ledger", in_full(step.recorded_loss), in_full(step.recorded_gradient_norm), ""});
  }
  std::string text =
      "from " + report.from + " (step " + std::to_string(report.from_step) +
      "): " + std::to_string(report.steps.size()) +
      (report.steps.size() == 1 ? " step, " : " steps, ") +
      (different == 0 ? "all with the ledger's bits"
                      : std::to_string(different) + " with other bits than the ledger's") +
      "\n" + table.text(style);
  text += "state " + report.state_digest + "\n";
  if (!report.recorded_state_digest.empty()) {
    text += report.recorded_state_digest == report.state_digest
                ? "the ledger's digest is the same\n"
                : "ledger " + report.recorded_state_digest + "\n";
  }
  if (report.micro_batch_loss) {
    text += "loss of the micro-batch " + in_full(*report.micro_batch_loss) + "\n";
  }
  std::vector<std::string> samples;
  for (const auto sample : report.samples) {
    if (samples.size() == kShownSamples) break;
    samples.push_back(std::to_string(sample));
  }
  text += "samples " + base::joined(samples);
  if (report.samples.size() > kShownSamples) {
    text +=
        " and " + std::to_string(report.samples.size() - kShownSamples) + " more (--json has all)";
  }
  return text + "\n";
}

}  // namespace lockstep::launcher
