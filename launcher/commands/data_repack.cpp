// `data repack F.h5 --output G.h5`: the same values in another layout or order.

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/repack.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

class DataRepack final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("FILE", path_, "HDF5 file")->required();
    app.add_option("--output", options_.output, "HDF5 file to write")
        ->required()
        ->type_name("G.h5");
    app.add_flag("--contiguous", contiguous_, "all rows in one run, which reads fastest (default)");
    app.add_option("--chunk-rows", options_.layout.chunk_rows, "rows of an HDF5 chunk")
        ->check(CLI::PositiveNumber)
        ->type_name("N");
    app.add_option("--deflate", options_.layout.deflate,
                   "compression level 1 to 9; chunks of 256 KiB without --chunk-rows")
        ->check(CLI::Range(1, 9))
        ->type_name("L");
    app.add_option("--shuffle-rows", seed_, "put the rows into an order made from this seed")
        ->type_name("SEED");
    app.add_flag("--no-check", no_check_, "do not read the new file back to compare it");
    app.footer(
        "Every dataset of numbers is carried, in native little endian, with its attributes and "
        "those of the file; other datasets are left out.");
  }

  int run(const Session& session) override {
    if (contiguous_ && (options_.layout.chunk_rows > 0 || options_.layout.deflate > 0)) {
      throw base::ConfigError(
          "'--contiguous' does not go with '--chunk-rows' or '--deflate' (compressed rows are in "
          "chunks); leave one of them away");
    }
    options_.shuffle_seed = seed_;
    if (no_check_) options_.check = data::RepackOptions::Check::kNone;
    const auto result = data::repack(path_, options_);
    Table table({{"dataset"}, {"before", Table::Align::kRight}, {"after", Table::Align::kRight}});
    for (const auto& column : result.columns) {
      table.add_row({column.name, base::format_bytes(column.bytes_before),
                     base::format_bytes(column.bytes_after)});
    }
    table.add_row({"whole file", base::format_bytes(result.file_bytes_before),
                   base::format_bytes(result.file_bytes_after)});
    print(table.text(session.output));
    for (const auto& note : result.notes) {
      print_message(session.messages,
                    paint(session.messages, Tone::kWarning, "warning:") + " " + note + "\n");
    }
    print_message(session.messages, fmt::format("wrote {}\n", options_.output));
    return 0;
  }

 private:
  std::string path_;
  data::RepackOptions options_;
  std::optional<std::uint64_t> seed_;
  bool contiguous_ = false;
  bool no_check_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_repack() { return std::make_unique<DataRepack>(); }

}  // namespace lockstep::launcher
