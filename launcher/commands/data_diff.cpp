// `data diff A.h5 B.h5`: whether a model that was made for A will meet in B what it knows.

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/diff.hpp"
#include "launcher/commands/data_options.hpp"

namespace lockstep::launcher {
namespace {

using data::ColumnDifference;
using data::FileDifference;

std::string schema_text(const ColumnDifference& column) {
  if (column.same_schema()) return column.first_schema;
  return (column.first_schema.empty() ? "nothing" : column.first_schema) + " / " +
         (column.second_schema.empty() ? "nothing" : column.second_schema);
}

std::string count_text(std::int64_t count) {
  return base::format_count(static_cast<std::uint64_t>(count));
}

std::string verdict_text(const FileDifference& difference, const ColumnDifference& column,
                         const Style& style) {
  if (!column.same_schema()) return paint(style, Tone::kError, "other schema");
  if (difference.has_drifted(column)) return paint(style, Tone::kError, "drifted");
  return column.drift ? paint(style, Tone::kGood, "alike") : "not compared";
}

std::string as_text(const FileDifference& difference, const Style& style) {
  Table table({{"dataset"},
               {"schema"},
               {"rows", Table::Align::kRight},
               {"psi", Table::Align::kRight},
               {"ks", Table::Align::kRight},
               {"verdict"}});
  for (const auto& column : difference.columns) {
    const auto rows = column.first_rows == column.second_rows
                          ? count_text(column.first_rows)
                          : count_text(column.first_rows) + " / " + count_text(column.second_rows);
    const auto& drift = column.drift;
    const bool exact = drift && drift->uncertainty == 0;
    table.add_row({column.name, schema_text(column), rows,
                   drift ? fmt::format("{:.4f}", drift->psi) : "-",
                   drift ? exact ? fmt::format("{:.4f}", drift->ks)
                                 : fmt::format("{:.4f} to {:.4f}", drift->ks,
                                               std::min(1.0, drift->ks + drift->uncertainty))
                         : "-",
                   verdict_text(difference, column, style)});
  }
  return table.text(style) + fmt::format("\n{}: same schemas, psi at most {:g}, ks at most {:g}\n",
                                         difference.is_good()
                                             ? paint(style, Tone::kGood, "passed")
                                             : paint(style, Tone::kError, "failed"),
                                         difference.most_psi, difference.most_ks);
}

class DataDiff final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("A", first_, "HDF5 file to compare with")->required();
    app.add_option("B", second_, "HDF5 file that is compared")->required();
    app.add_option("--psi", options_.most_psi, "most population stability index of a dataset")
        ->type_name("P");
    app.add_option("--ks", options_.most_ks, "most Kolmogorov-Smirnov statistic of a dataset")
        ->type_name("K");
    app.add_option("--targets", options_.targets, "dataset of the classes")->type_name("NAME");
    shared_.declare_threads(app);
    app.add_flag("--json", json_, "as JSON");
    app.footer(
        "The index is taken over ten bins between quantiles of A (over the values, where they are "
        "classes), with shares of at least 0.0001. Exit code 7 when the schemas differ or a "
        "dataset is above a threshold.");
  }

  int run(const Session& session) override {
    options_.threads = shared_.threads();
    const auto difference = data::diff(first_, second_, options_);
    print(json_ ? data::to_json(difference) : as_text(difference, session.output));
    return static_cast<int>(difference.is_good() ? base::ExitCode::kDone : base::ExitCode::kGate);
  }

 private:
  std::string first_;
  std::string second_;
  data::DiffOptions options_;
  DataOptions shared_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_diff() { return std::make_unique<DataDiff>(); }

}  // namespace lockstep::launcher
