// `data import idx IMAGES LABELS --output F.h5`: the MNIST family as a dataset file.

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/text.hpp"
#include "data/import/idx.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

class DataImportIdx final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("IMAGES", images_, "IDX file of the images, plain or .gz")->required();
    app.add_option("LABELS", labels_, "IDX file of the labels, plain or .gz")->required();
    app.add_option("--output", output_, "HDF5 file to write")->required()->type_name("F.h5");
  }
  int run(const Session& session) override {
    const auto result = data::import_idx(images_, labels_, output_);
    print_message(session.messages,
                  fmt::format("wrote {}: {} rows, {}\n", output_,
                              base::format_count(static_cast<std::uint64_t>(result.rows)),
                              base::format_bytes(result.bytes)));
    return 0;
  }

 private:
  std::string images_;
  std::string labels_;
  std::string output_;
};

}  // namespace

std::unique_ptr<Command> make_data_import() { return std::make_unique<DataImportIdx>(); }

}  // namespace lockstep::launcher
