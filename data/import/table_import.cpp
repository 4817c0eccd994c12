#include "data/import/table_import.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/import/bad_inputs.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::size_t kMostCategories = 65'536;
constexpr std::size_t kMostQuoted = 40;
constexpr std::uint64_t kRowsBetweenProgress = 4096;

std::string excerpt(std::string_view text) {
  return text.size() <= kMostQuoted ? base::quote(text)
                                    : base::quote(text.substr(0, kMostQuoted)) + " ...";
}

std::string quoted(std::vector<std::string> names) {
  for (auto& name : names) name = base::quote(name);
  return base::joined(names);
}

/// The texts of a column, numbered in sorted order once all are known.
class Categories {
 public:
  /// Throws DataError when there are more than categories have a use for.
  void add(std::string_view text, const std::string& column, const std::string& file) {
    if (numbers_.find(text) != numbers_.end()) return;
    if (numbers_.size() == kMostCategories) {
      throw base::DataError("column " + base::quote(column) + " of " + base::quote(file) +
                            " has more than " + base::format_count(kMostCategories) +
                            " different texts (they are numbered as categories); leave it out "
                            "with --drop, or name another target");
    }
    numbers_.emplace(text, 0);
  }
  void number() {
    std::int64_t next = 0;
    for (auto& [text, number] : numbers_) {
      names_.push_back(text);
      number = next++;
      index_.emplace(text, number);
    }
  }
  std::int64_t of(std::string_view text) const {
    const auto found = index_.find(text);
    return found == index_.end() ? -1 : found->second;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::map<std::string, std::int64_t, std::less<>> numbers_;
  std::unordered_map<std::string_view, std::int64_t> index_;  ///< into the texts of `numbers_`
  std::vector<std::string> names_;
};

/// A column that is used, and where it goes.
struct Used {
  std::size_t column;     ///< number in the table
  std::int64_t place;     ///< of its first number in an input; the target's has no meaning
  Categories categories;  ///< of a text column
};

enum class TargetUse { kClasses, kNamedClasses, kValues };

/// Which columns are inputs and which is the target.
class Plan {
 public:
  Plan(const std::vector<TableColumn>& columns, const std::string& file,
       const TableOptions& options)
      : columns_(columns), file_(file), options_(options) {
    choose_target();
    choose_features();
    check_types();
  }

  const TableColumn& column(const Used& used) const { return columns_[used.column]; }
  std::vector<Used>& features() { return features_; }
  const std::vector<Used>& features() const { return features_; }
  Used& target() { return target_; }
  const Used& target() const { return target_; }
  TargetUse target_use() const { return target_use_; }
  std::int64_t width() const { return width_; }
  const std::string& file() const { return file_; }

  bool has_text() const {
    return target_use_ == TargetUse::kNamedClasses ||
           std::ranges::any_of(
               features_, [&](const Used& used) { return column(used).type == ColumnType::kText; });
  }
  /// The features' columns, then the target's.
  std::vector<std::size_t> wanted() const {
    std::vector<std::size_t> numbers;
    for (const auto& used : features_) numbers.push_back(used.column);
    numbers.push_back(target_.column);
    return numbers;
  }
  /// By its name, or by its number where it has none.
  std::string name_of(std::size_t number) const {
    const auto& name = columns_[number].name;
    return name.empty() ? std::to_string(number + 1) : name;
  }

  std::vector<ImportedColumn> report() const {
    std::vector<ImportedColumn> report;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      report.push_back({name_of(i), columns_[i].type_name, "left out"});
      if (columns_[i].name.empty() && options_.features.empty()) report[i].use += " (no name)";
    }
    for (const auto& used : features_) {
      auto& use = report[used.column].use;
      const auto last = used.place + column(used).width - 1;
      use = "x[" + std::to_string(used.place) +
            (last > used.place ? " to " + std::to_string(last) : "") + "]";
      if (column(used).type == ColumnType::kText) {
        use += ", " + counted(used.categories.names().size(), "category", "categories");
      }
    }
    auto& use = report[target_.column].use;
    switch (target_use_) {
      case TargetUse::kClasses: use = "y, classes"; break;
      case TargetUse::kNamedClasses:
        use = "y, " + counted(target_.categories.names().size(), "class", "classes");
        break;
      case TargetUse::kValues: use = "y, values"; break;
    }
    return report;
  }

 private:
  static std::string counted(std::size_t count, const char* one, const char* many) {
    return base::format_count(count) + " " + (count == 1 ? one : many);
  }

  std::optional<std::size_t> find(const std::string& word) const {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].name == word && !word.empty()) return i;
    }
    std::size_t number = 0;
    const auto* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, number);
    if (error == std::errc() && stop == end && number >= 1 && number <= columns_.size()) {
      return number - 1;
    }
    return std::nullopt;
  }

  std::size_t resolve(const std::string& word) const {
    if (const auto found = find(word)) return *found;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < columns_.size(); ++i) names.push_back(name_of(i));
    const auto nearest = base::nearest_name(word, names);
    constexpr std::size_t kMostNames = 20;
    const bool many = names.size() > kMostNames;
    const auto count = names.size();
    if (many) names.resize(kMostNames);
    throw base::ConfigError("column " + base::quote(word) + " is not in " + base::quote(file_) +
                            " (it has " + base::joined(names) + (many ? ", ..." : "") + "); " +
                            (nearest
                                 ? "did you mean " + base::quote(*nearest) + "?"
                                 : "give a name, or a number from 1 to " + std::to_string(count)));
  }

  void choose_target() {
    if (!options_.target.empty()) {
      target_.column = resolve(options_.target);
      return;
    }
    target_.column = columns_.size() - 1;
    for (const char* name : {"y", "label", "target", "class"}) {
      const auto found = std::ranges::find(columns_, name, &TableColumn::name);
      if (found != columns_.end()) {
        target_.column = static_cast<std::size_t>(found - columns_.begin());
        return;
      }
    }
  }

  void choose_features() {
    std::vector<bool> taken(columns_.size(), false);
    taken[target_.column] = true;
    for (const auto& word : options_.drop) {
      const auto number = resolve(word);
      if (number == target_.column) {
        throw base::ConfigError("column " + base::quote(word) +
                                " is the target and is dropped too (a dataset needs its target); "
                                "name another with --target");
      }
      taken[number] = true;
    }
    std::vector<std::size_t> numbers;
    for (const auto& word : options_.features) {
      const auto number = resolve(word);
      if (taken[number]) {
        throw base::ConfigError("column " + base::quote(word) +
                                " is named as a feature, and as something else too (target, "
                                "dropped, or the same feature again); name it once");
      }
      taken[number] = true;
      numbers.push_back(number);
    }
    if (options_.features.empty()) {
      for (std::size_t i = 0; i < columns_.size(); ++i) {
        if (!taken[i] && !columns_[i].name.empty()) numbers.push_back(i);
      }
    }
    if (numbers.empty()) {
      throw base::DataError("table " + base::quote(file_) + " has no column for the inputs (its " +
                            std::to_string(columns_.size()) +
                            " are the target or left out); give "
                            "another target, or another delimiter if it is a CSV file");
    }
    for (const auto number : numbers) {
      features_.push_back({number, width_, {}});
      width_ += columns_[number].width;
    }
  }

  void check_types() {
    std::vector<std::string> texts;
    std::string example;
    for (const auto& used : features_) {
      const auto& feature = column(used);
      if (feature.type == ColumnType::kOther) {
        throw base::DataError("column " + base::quote(name_of(used.column)) + " of " +
                              base::quote(file_) + " is " + feature.type_name +
                              " (inputs are numbers); leave it out with --drop " +
                              name_of(used.column));
      }
      if (feature.type == ColumnType::kText && options_.text_features == TextFeatures::kRefuse) {
        if (texts.empty()) example = feature.example;
        texts.push_back(name_of(used.column));
      }
    }
    if (!texts.empty()) {
      const bool one = texts.size() == 1;
      throw base::DataError(
          (one ? "column " : "columns ") + quoted(texts) + " of " + base::quote(file_) +
          (one ? " holds" : " hold") + " text such as " + excerpt(example) +
          " (inputs are numbers); number the texts in sorted order with --categories, or leave " +
          (one ? "it" : "them") + " out with --drop " + base::joined(texts, ","));
    }

    const auto& target = column(target_);
    if (target.is_list || target.type == ColumnType::kOther) {
      throw base::DataError("target column " + base::quote(name_of(target_.column)) + " of " +
                            base::quote(file_) + " is " + target.type_name +
                            " (targets are integers, texts or numbers); name another with "
                            "--target");
    }
    if (options_.target_kind == TargetKind::kValues) {
      if (target.type == ColumnType::kText) {
        throw base::DataError("target column " + base::quote(name_of(target_.column)) + " of " +
                              base::quote(file_) + " holds text such as " +
                              excerpt(target.example) +
                              " (values are numbers); leave --regression out");
      }
      target_use_ = TargetUse::kValues;
      return;
    }
    switch (target.type) {
      case ColumnType::kInteger: target_use_ = TargetUse::kClasses; break;
      case ColumnType::kText: target_use_ = TargetUse::kNamedClasses; break;
      default: target_use_ = TargetUse::kValues;
    }
  }

  const std::vector<TableColumn>& columns_;
  std::string file_;
  const TableOptions& options_;
  Used target_{};
  TargetUse target_use_ = TargetUse::kValues;
  std::vector<Used> features_;
  std::int64_t width_ = 0;
};

/// What is wrong with the cell of a numeric column; nothing when it is a number that f32 holds.
std::optional<std::string> number_problem(const Cell& cell, const TableColumn& column) {
  switch (cell.kind) {
    case Cell::Kind::kMissing: return "is empty";
    case Cell::Kind::kText: return excerpt(cell.text) + " is no number";
    case Cell::Kind::kInteger: return std::nullopt;
    case Cell::Kind::kFloat:
      if (!std::isfinite(cell.number)) return "is not finite";
      if (!std::isfinite(static_cast<float>(cell.number))) return "is too large for f32";
      return std::nullopt;
    case Cell::Kind::kList:
      if (static_cast<std::int64_t>(cell.list.size()) != column.width) {
        return "has " + std::to_string(cell.list.size()) +
               (cell.list.size() == 1 ? " number, not " : " numbers, not ") +
               std::to_string(column.width);
      }
      for (const float value : cell.list) {
        if (!std::isfinite(value)) return "has a number that is missing or not finite";
      }
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::string> cell_problem(const Cell& cell, const TableColumn& column) {
  if (column.type != ColumnType::kText) return number_problem(cell, column);
  if (cell.kind == Cell::Kind::kMissing) return "is empty";
  return std::nullopt;
}

std::optional<std::string> target_problem(const Cell& cell, const Plan& plan) {
  if (auto problem = cell_problem(cell, plan.column(plan.target()))) return problem;
  if (plan.target_use() != TargetUse::kClasses) return std::nullopt;
  if (cell.kind != Cell::Kind::kInteger) return "is no integer that a class can have";
  if (cell.integer < 0) {
    return std::to_string(cell.integer) +
           " is negative (integers are classes; --regression makes them values)";
  }
  return std::nullopt;
}

/// What makes the row bad, after its place: `, column 'a': is empty`.
std::optional<std::string> row_problem(const TableRow& row, const Plan& plan) {
  if (!row.problem.empty()) return ": " + row.problem;
  for (std::size_t i = 0; i < row.cells.size(); ++i) {
    const bool is_target = i == plan.features().size();
    const auto& used = is_target ? plan.target() : plan.features()[i];
    const auto problem = is_target ? target_problem(row.cells[i], plan)
                                   : cell_problem(row.cells[i], plan.column(used));
    if (problem) return ", column " + base::quote(plan.name_of(used.column)) + ": " + *problem;
  }
  return std::nullopt;
}

double number_of(const Cell& cell) {
  return cell.kind == Cell::Kind::kInteger ? static_cast<double>(cell.integer) : cell.number;
}

class Import {
 public:
  Import(TableReader& reader, const std::string& file, ImportWriter& writer,
         const TableOptions& options)
      : reader_(reader),
        writer_(writer),
        options_(options),
        plan_(reader.columns(), file, options) {}

  ImportResult run() {
    auto rows = reader_.rows();
    const bool skip = options_.bad_rows == BadInput::kSkip;
    auto bad = no_bad_rows();
    // A file's shape is given before its rows: what decides it is read first.
    if (skip || plan_.has_text()) {
      rows = 0;
      scan("checking rows", bad, [&](const TableRow& row) {
        ++rows;
        collect_categories(row);
      });
      if (!skip) bad.refuse();
      for (auto& used : plan_.features()) used.categories.number();
      plan_.target().categories.number();
    }
    if (rows == 0) {
      throw base::DataError("table " + base::quote(plan_.file()) +
                            (bad.count() > 0 ? " has no row that can be used" : " has no rows") +
                            " (a dataset has at least one); give another file" +
                            (bad.count() > 0 ? ". " + bad.note() : ""));
    }
    write(rows);
    set_attributes(bad);
    auto result = writer_.commit();
    result.columns = plan_.report();
    if (bad.count() > 0) result.notes.push_back(bad.note());
    return result;
  }

 private:
  BadInputs no_bad_rows() const {
    const auto file = base::quote(plan_.file());
    return BadInputs({.one = "row of " + file,
                      .many = "rows of " + file,
                      .rule = "every cell that is used must be a finite number, or a text",
                      .option = "--skip-bad-rows"});
  }

  /// Calls `use` for each good row and lists the others.
  template <class Use>
  void scan(std::string_view phase, BadInputs& bad, const Use& use) {
    const auto wanted = plan_.wanted();
    const auto total = static_cast<std::uint64_t>(reader_.rows());
    reader_.restart(wanted);
    TableRow row;
    for (std::uint64_t done = 0; reader_.next(row); ++done) {
      if (done % kRowsBetweenProgress == 0) writer_.progress(phase, done, total);
      if (const auto problem = row_problem(row, plan_)) {
        bad.add(std::string(reader_.place_name()) + " " + std::to_string(row.place) + *problem);
      } else {
        use(row);
      }
    }
  }

  void collect_categories(const TableRow& row) {
    const auto add = [&](Used& used, const Cell& cell) {
      if (plan_.column(used).type != ColumnType::kText) return;
      used.categories.add(cell.text, plan_.name_of(used.column), plan_.file());
    };
    for (std::size_t i = 0; i < plan_.features().size(); ++i) {
      add(plan_.features()[i], row.cells[i]);
    }
    add(plan_.target(), row.cells.back());
  }

  void write(std::int64_t rows) {
    const bool classes = plan_.target_use() != TargetUse::kValues;
    auto& x = writer_.add_column("x", DType::kF32, {rows, plan_.width()});
    auto& y = writer_.add_column("y", classes ? DType::kI64 : DType::kF32, {rows});
    auto bad = no_bad_rows();
    std::int64_t good = 0;
    scan("writing rows", bad, [&](const TableRow& row) {
      ++good;
      if (good > rows) return;
      fill_input(row, x.next_row_as<float>());
      const auto& target = row.cells.back();
      switch (plan_.target_use()) {
        case TargetUse::kClasses: y.next_row_as<std::int64_t>()[0] = target.integer; break;
        case TargetUse::kNamedClasses:
          y.next_row_as<std::int64_t>()[0] = known(plan_.target(), target);
          break;
        case TargetUse::kValues:
          y.next_row_as<float>()[0] = static_cast<float>(number_of(target));
          break;
      }
    });
    if (options_.bad_rows == BadInput::kRefuse) bad.refuse();
    if (good != rows) changed();
  }

  void fill_input(const TableRow& row, std::span<float> input) const {
    for (std::size_t i = 0; i < plan_.features().size(); ++i) {
      const auto& used = plan_.features()[i];
      const auto& cell = row.cells[i];
      const auto place = static_cast<std::size_t>(used.place);
      if (plan_.column(used).type == ColumnType::kText) {
        input[place] = static_cast<float>(known(used, cell));
      } else if (cell.kind == Cell::Kind::kList) {
        std::ranges::copy(cell.list, input.begin() + used.place);
      } else {
        input[place] = static_cast<float>(number_of(cell));
      }
    }
  }

  std::int64_t known(const Used& used, const Cell& cell) const {
    const auto number = used.categories.of(cell.text);
    if (number < 0) changed();
    return number;
  }

  [[noreturn]] void changed() const {
    throw base::DataError("table " + base::quote(plan_.file()) +
                          " changed while it was read (its rows are no longer those counted "
                          "before); import it again when nothing writes it");
  }

  void set_attributes(const BadInputs& bad) {
    std::vector<std::string> names;
    nlohmann::ordered_json categories = nlohmann::ordered_json::object();
    for (const auto& used : plan_.features()) {
      names.push_back(plan_.name_of(used.column));
      if (!used.categories.names().empty()) categories[names.back()] = used.categories.names();
    }
    writer_.set_attribute("features", names);
    if (!categories.empty()) writer_.set_attribute("categories", json_text(categories));
    if (plan_.target_use() == TargetUse::kNamedClasses) {
      writer_.set_attribute("classes", plan_.target().categories.names());
    }
    if (options_.bad_rows == BadInput::kSkip) {
      writer_.set_attribute("skipped", std::to_string(bad.count()));
    }
  }

  TableReader& reader_;
  ImportWriter& writer_;
  const TableOptions& options_;
  Plan plan_;
};

}  // namespace

ImportResult import_table(TableReader& reader, const std::string& file, ImportWriter& writer,
                          const TableOptions& options) {
  return Import(reader, file, writer, options).run();
}

}  // namespace lockstep::data::detail
