// `data stats F.h5`: statistics of a dataset's columns, exact and the same with any threads.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "data/shape_text.hpp"
#include "data/statistics.hpp"
#include "launcher/commands/data_options.hpp"

namespace lockstep::launcher {
namespace {

using Align = Table::Align;

std::string count_text(std::int64_t count) {
  return base::format_count(static_cast<std::uint64_t>(count));
}

std::string number_text(const std::optional<double>& number) {
  return number ? fmt::format("{:.6g}", *number) : "-";
}

std::string column_table(const data::FileStatistics& statistics, const Style& style) {
  Table table({{"dataset"},
               {"type"},
               {"shape"},
               {"nan", Align::kRight},
               {"inf", Align::kRight},
               {"zeros", Align::kRight},
               {"min", Align::kRight},
               {"max", Align::kRight},
               {"mean", Align::kRight},
               {"std", Align::kRight}});
  for (const auto& column : statistics.columns) {
    const auto& overall = column.overall;
    table.add_row({column.name, std::string(name_of(column.dtype)),
                   data::dimensions_text(column.shape), count_text(column.nans),
                   count_text(column.infinities), count_text(column.zeros),
                   number_text(column.smallest), number_text(column.largest),
                   overall ? number_text(overall->mean) : "-",
                   overall ? number_text(overall->deviation) : "-"});
  }
  return table.text(style);
}

std::string quantile_table(const data::FileStatistics& statistics, const Style& style) {
  std::vector<Table::Column> columns{{"quantiles"}};
  for (const auto quantile : data::kQuantiles) {
    columns.push_back({fmt::format("{:g}", quantile), Align::kRight});
  }
  Table table(columns);
  for (const auto& column : statistics.columns) {
    std::vector<std::string> cells{column.name};
    for (const auto value : column.quantiles) cells.push_back(number_text(value));
    table.add_row(cells);
  }
  return table.text(style);
}

/// A bar for each bin, by the root of its count so that small ones show.
std::string bars(const data::Histogram& histogram) {
  static constexpr std::array kBars{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const auto most = *std::max_element(histogram.counts.begin(), histogram.counts.end());
  std::string text;
  for (const auto count : histogram.counts) {
    const auto height = std::sqrt(static_cast<double>(count) / static_cast<double>(most));
    text += kBars[static_cast<std::size_t>(std::ceil(height * (kBars.size() - 1)))];
  }
  return text;
}

std::string histograms(const data::FileStatistics& statistics, const Style& style) {
  constexpr std::size_t kMostBars = 64;
  std::string text;
  if (!style.unicode) return text;
  for (const auto& column : statistics.columns) {
    const auto& histogram = column.histogram;
    if (histogram.counts.size() < 2 || histogram.counts.size() > kMostBars) continue;
    text += fmt::format("{}  {} |{}| {}\n", column.name, number_text(histogram.low),
                        bars(histogram), number_text(histogram.high));
  }
  return text;
}

std::string class_table(const data::FileStatistics& statistics, const Style& style) {
  constexpr std::size_t kMostShown = 100;
  Table table({{"class", Align::kRight},
               {"rows", Align::kRight},
               {"mean", Align::kRight},
               {"std", Align::kRight}});
  Table counts({{"class", Align::kRight}, {"rows", Align::kRight}});
  bool with_inputs = false;
  const auto& classes = statistics.classes;
  for (std::size_t i = 0; i < std::min(classes.size(), kMostShown); ++i) {
    const auto label = std::to_string(classes[i].label);
    const auto rows = count_text(classes[i].rows);
    const auto& inputs = classes[i].inputs;
    with_inputs = with_inputs || inputs;
    counts.add_row({label, rows});
    table.add_row({label, rows, inputs ? number_text(inputs->mean) : "-",
                   inputs ? number_text(inputs->deviation) : "-"});
  }
  auto text = (with_inputs ? table : counts).text(style);
  if (classes.size() > kMostShown) {
    text += fmt::format("and {} more classes; --json lists them all\n",
                        count_text(static_cast<std::int64_t>(classes.size() - kMostShown)));
  }
  return text;
}

/// What to paste into a configuration.
std::string scaling_line(const data::ColumnStatistics& inputs) {
  const auto scaling = data::input_scaling_of(inputs);
  if (scaling.empty()) return {};
  std::vector<std::string> means;
  std::vector<std::string> deviations;
  for (const auto& channel : scaling) {
    means.push_back(fmt::format("{:.6g}", channel.mean));
    deviations.push_back(fmt::format("{:.6g}", channel.deviation));
  }
  return fmt::format("data: {{mean: [{}], std: [{}]}}   # of {}{}\n", base::joined(means),
                     base::joined(deviations), inputs.name,
                     inputs.dtype == data::DType::kU8 ? ", divided by 255" : "");
}

class DataStats final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("FILE", path_, "HDF5 file")->required();
    app.add_option("--columns", options_.columns, "datasets, parted by commas; all without it")
        ->delimiter(',')
        ->type_name("NAME,...");
    app.add_flag("--per-class", per_class_, "mean and deviation of the inputs of each class");
    app.add_option("--inputs", options_.inputs, "dataset of the inputs")->type_name("NAME");
    app.add_option("--targets", options_.targets, "dataset of the classes")->type_name("NAME");
    app.add_option("--bins", options_.bins, "of the histograms")->type_name("N");
    shared_.declare_threads(app);
    shared_.declare_cache(app);
    app.add_flag("--json", json_, "as JSON");
    app.footer(
        "Statistics are of finite elements; std is that of the population (divided by the count); "
        "quantiles lie between neighbours in proportion. They are the same bits with any number "
        "of threads.");
  }

  int run(const Session& session) override {
    options_.threads = shared_.threads();
    options_.cache_directory = shared_.cache_directory(session);
    if (per_class_) options_.per_class = data::StatisticsOptions::PerClass::kInputs;
    const auto statistics = data::statistics(path_, options_);
    print(json_ ? data::to_json(statistics) : as_text(statistics, session.output));
    return 0;
  }

 private:
  std::string as_text(const data::FileStatistics& statistics, const Style& style) const {
    auto text = column_table(statistics, style) + "\n" + quantile_table(statistics, style);
    const auto add = [&](const std::string& part) {
      if (!part.empty()) text += "\n" + part;
    };
    add(histograms(statistics, style));
    if (!statistics.classes.empty()) add(class_table(statistics, style));
    for (const auto& column : statistics.columns) {
      if (column.name == options_.inputs) add(scaling_line(column));
    }
    std::string notes;
    for (const auto& note : statistics.notes) notes += "note: " + note + "\n";
    add(notes);
    return text;
  }

  std::string path_;
  data::StatisticsOptions options_;
  DataOptions shared_;
  bool per_class_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_stats() { return std::make_unique<DataStats>(); }

}  // namespace lockstep::launcher
