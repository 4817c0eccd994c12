// `evaluate RUN|CHECKPOINT`: exact metrics of a trained model.

#include <CLI/CLI.hpp>

#include "base/output_path.hpp"
#include "launcher/commands/use_model.hpp"
#include "launcher/evaluation_text.hpp"

namespace lockstep::launcher {
namespace {

class Evaluate final : public Command {
 public:
  void declare(CLI::App& app) override {
    model_.declare(app);
    app.add_option("--top-k", top_k_, "count labels among the K largest outputs, as 1,3,5")
        ->type_name("LIST");
    app.add_option("--roc-auc", roc_auc_,
                   "auto (up to 67 million scores), on or off; 4 bytes a sample and class")
        ->check(CLI::IsMember({"auto", "on", "off"}))
        ->type_name("WHEN");
    app.add_option("--min", least_, "exit 7 when METRIC is below the number, as accuracy=0.9")
        ->type_name("METRIC=N")
        ->expected(1);
    app.add_option("--max", most_, "exit 7 when METRIC is above the number, as loss=0.5")
        ->type_name("METRIC=N")
        ->expected(1);
    app.add_option("--output", output_, "write the JSON report to a file, too")
        ->type_name("F.json");
    app.add_flag("--json", json_, "as JSON: everything, also what tables cut off");
  }

  int run(const Session& session) override {
    if (!output_.empty()) base::require_output_path(output_);
    std::vector<std::string> options;
    if (roc_auc_ != "auto") options = {"--roc-auc", roc_auc_};
    if (!top_k_.empty()) {
      parse_top_k(top_k_);
      options.insert(options.end(), {"--top-k", top_k_});
    }
    for (const auto& gate : least_) {
      parse_gate(gate, Gate::Side::kAtLeast);
      options.insert(options.end(), {"--min", gate});
    }
    for (const auto& gate : most_) {
      parse_gate(gate, Gate::Side::kAtMost);
      options.insert(options.end(), {"--max", gate});
    }
    if (!output_.empty()) options.insert(options.end(), {"--output", output_});
    if (json_) options.emplace_back("--json");
    return model_.run(session, "evaluate", options);
  }

 private:
  ModelUse model_;
  std::string top_k_;
  std::string roc_auc_ = "auto";
  std::vector<std::string> least_, most_;
  std::string output_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_evaluate() { return std::make_unique<Evaluate>(); }

}  // namespace lockstep::launcher
