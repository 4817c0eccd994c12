// `data inspect F.h5`: what is in a dataset file.

#include <CLI/CLI.hpp>

#include "data/inspect.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

class DataInspect final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("FILE", path_, "HDF5 file")->required();
    app.add_option("--inputs", options_.inputs, "dataset of the inputs")->type_name("NAME");
    app.add_option("--targets", options_.targets, "dataset of the targets")->type_name("NAME");
    app.add_option("--tokens", options_.tokens, "dataset of the tokens")->type_name("NAME");
    app.add_flag("--headers", headers_, "the schema alone, without reading the values");
    app.add_flag("--json", json_, "as JSON");
  }
  int run(const Session&) override {
    if (headers_) options_.scan = data::Scan::kHeaders;
    const auto summary = data::inspect(path_, options_);
    print(json_ ? data::to_json(summary) : data::to_text(summary));
    return 0;
  }

 private:
  std::string path_;
  data::InspectOptions options_;
  bool headers_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_inspect() { return std::make_unique<DataInspect>(); }

}  // namespace lockstep::launcher
