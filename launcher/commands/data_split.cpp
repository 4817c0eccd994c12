// `data split F.h5 --parts train=0.8,val=0.1,test=0.1`: parts that share no row and miss none.

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/text.hpp"
#include "data/split.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

/// `dir/f.h5` without its ending.
std::string stem_of(const std::string& path) {
  return path.ends_with(".h5") ? path.substr(0, path.size() - 3) : path;
}

class DataSplit final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("FILE", path_, "HDF5 file")->required();
    app.add_option("--parts", parts_, "names and fractions that sum to 1")
        ->required()
        ->type_name("train=0.8,test=0.2");
    app.add_option("--stratify", options_.stratify,
                   "integer dataset of whose values each part gets its share")
        ->type_name("NAME");
    app.add_option("--seed", options_.seed, "which rows go where is a function of it (default: 1)")
        ->type_name("S");
    app.add_option("--tokens", options_.tokens, "dataset of the tokens")->type_name("NAME");
    app.add_option("--output-prefix", options_.output_prefix,
                   "P writes P-train.h5 and so on; the input's name without it")
        ->type_name("P");
    app.add_flag("--drop-unreadable", drop_, "leave datasets out that hold no numbers");
    app.footer(
        "Inside a part rows keep the order they had. A file of tokens alone is cut into one run "
        "for each part, in the order of the parts, without a shuffle: windows of text stay whole.");
  }

  int run(const Session& session) override {
    options_.parts = data::parse_split_parts(parts_);
    if (options_.output_prefix.empty()) options_.output_prefix = stem_of(path_);
    if (drop_) options_.unreadable = data::SplitOptions::Unreadable::kDrop;
    const auto result = data::split(path_, options_);
    Table table({{"part"}, {"rows", Table::Align::kRight}, {"file"}});
    for (const auto& part : result.parts) {
      table.add_row(
          {part.name, base::format_count(static_cast<std::uint64_t>(part.rows)), part.path});
    }
    print(table.text(session.output));
    for (const auto& note : result.notes) {
      print_message(session.messages,
                    paint(session.messages, Tone::kWarning, "warning:") + " " + note + "\n");
    }
    return 0;
  }

 private:
  std::string path_;
  std::string parts_;
  data::SplitOptions options_;
  bool drop_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_split() { return std::make_unique<DataSplit>(); }

}  // namespace lockstep::launcher
