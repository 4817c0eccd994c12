// `data import FORMAT INPUTS... --output F.h5`: other people's formats as a dataset file. What the
// formats share is in DataImport; each adds its inputs and options.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/stop_signal.hpp"
#include "base/text.hpp"
#include "data/import/csv.hpp"
#include "data/import/idx.hpp"
#include "data/import/images.hpp"
#include "data/import/npy.hpp"
#include "data/import/npz.hpp"
#include "data/import/parquet.hpp"
#include "data/import/text.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/task_line.hpp"

namespace lockstep::launcher {
namespace {

/// More columns than this are summed up.
constexpr std::size_t kMostColumnsShown = 40;

/// Names come from outside: what would move the cursor is written out.
std::string printable(const std::string& text) {
  const auto quoted = base::quote(text);
  return quoted.substr(1, quoted.size() - 2);
}

std::string column_table(const Style& style, const std::vector<data::ImportedColumn>& columns) {
  if (columns.empty()) return {};
  Table table({{"column"}, {"type"}, {"becomes"}});
  for (std::size_t i = 0; i < std::min(columns.size(), kMostColumnsShown); ++i) {
    table.add_row({printable(columns[i].name), columns[i].type, columns[i].use});
  }
  auto text = table.text(style);
  if (columns.size() > kMostColumnsShown) {
    text += fmt::format("and {} more\n", base::format_count(columns.size() - kMostColumnsShown));
  }
  return text + "\n";
}

class DataImport : public Command {
 public:
  void declare(CLI::App& app) final {
    declare_inputs(app);
    app.add_option("--chunk-rows", output_.layout.chunk_rows, "rows of an HDF5 chunk, 0 = one run")
        ->type_name("N");
    app.add_option("--deflate", output_.layout.deflate, "compression level 1 to 9, 0 = none")
        ->type_name("L");
    app.add_option("--output", output_.path, "HDF5 file to write")->required()->type_name("F.h5");
  }

  int run(const Session& session) final {
    base::require_output_path(output_.path);
    const base::StopSignal stop;
    TaskLine line(session.messages);
    output_.progress = [&](const data::ImportProgress& progress) {
      if (stop.requests() > 0) {
        throw base::Error(static_cast<base::ExitCode>(128 + stop.first_signal()),
                          fmt::format("the import was stopped (signal {}; nothing was written); "
                                      "run it again",
                                      stop.first_signal()));
      }
      line.show(progress.phase, progress.done, progress.total);
    };
    const auto result = import(output_);
    auto text = column_table(session.messages, result.columns);
    for (const auto& note : result.notes) {
      text += paint(session.messages, Tone::kWarning, "note:") + " " + note + "\n";
    }
    text += fmt::format("wrote {}: {} rows, {}: {}\n", output_.path,
                        base::format_count(static_cast<std::uint64_t>(result.rows)),
                        base::format_bytes(result.bytes), base::joined(result.datasets));
    print_message(session.messages, text);
    return 0;
  }

 private:
  virtual void declare_inputs(CLI::App& app) = 0;
  virtual data::ImportResult import(const data::ImportOutput& output) = 0;

  data::ImportOutput output_;
};

class DataImportIdx final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("IMAGES", images_, "IDX file of the images, plain or .gz")->required();
    app.add_option("LABELS", labels_, "IDX file of the labels, plain or .gz")->required();
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    return data::import_idx(images_, labels_, output);
  }

  std::string images_;
  std::string labels_;
};

/// The options that all tables take.
class TableWords {
 public:
  void declare(CLI::App& app) {
    app.add_option("--target", options_.target,
                   "column of the targets, by name or number; else y, label, target, class or the "
                   "last")
        ->type_name("COLUMN");
    app.add_option("--features", options_.features, "columns of the inputs; else all the others")
        ->delimiter(',')
        ->type_name("A,B,...");
    app.add_option("--drop", options_.drop, "columns to leave out")
        ->delimiter(',')
        ->type_name("A,B,...");
    app.add_flag("--categories", categories_,
                 "number the texts of a column in sorted order, where inputs are text");
    app.add_flag("--regression", regression_, "targets are values, even where all are integers");
    app.add_flag("--skip-bad-rows", skip_, "leave rows out that cannot be used");
  }
  data::TableOptions options() const {
    auto options = options_;
    if (categories_) options.text_features = data::TextFeatures::kEncode;
    if (regression_) options.target_kind = data::TargetKind::kValues;
    if (skip_) options.bad_rows = data::BadInput::kSkip;
    return options;
  }

 private:
  data::TableOptions options_;
  bool categories_ = false;
  bool regression_ = false;
  bool skip_ = false;
};

char delimiter_of(const std::string& word) {
  if (word == "tab" || word == "\\t") return '\t';
  if (word.size() == 1) return word.front();
  throw base::ConfigError(fmt::format(
      "delimiter {} is not one byte; give one such as ';', or the word tab", base::quote(word)));
}

data::CsvHeader header_of(const std::string& word) {
  if (word == "auto") return data::CsvHeader::kDetect;
  if (word == "yes") return data::CsvHeader::kYes;
  if (word == "no") return data::CsvHeader::kNo;
  throw base::ConfigError(
      fmt::format("header {} is not known (it says whether line 1 names the columns); give "
                  "--header yes, no or auto",
                  base::quote(word)));
}

class DataImportCsv final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("FILE", path_, "CSV file, plain or .gz")->required();
    table_.declare(app);
    app.add_option("--header", header_, "whether line 1 names the columns: yes, no, auto")
        ->type_name("yes|no");
    app.add_option("--delimiter", delimiter_, "between fields; the word tab for tabs")
        ->type_name("C");
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    return data::import_csv(path_, output,
                            {.table = table_.options(),
                             .header = header_of(header_),
                             .delimiter = delimiter_of(delimiter_)});
  }

  std::string path_;
  TableWords table_;
  std::string header_ = "auto";
  std::string delimiter_ = ",";
};

/// `28x28`
data::ImageSize size_of(const std::string& text) {
  const auto parts = base::split(text, 'x');
  data::ImageSize size;
  const auto read = [](const std::string& part, std::int64_t& length) {
    const auto* end = part.data() + part.size();
    const auto [stop, error] = std::from_chars(part.data(), end, length);
    return error == std::errc() && stop == end;
  };
  if (parts.size() != 2 || !read(parts[0], size.height) || !read(parts[1], size.width)) {
    throw base::ConfigError(
        fmt::format("size {} cannot be read (it is height x width in pixels); write for example "
                    "--size 32x32",
                    base::quote(text)));
  }
  return size;
}

class DataImportImages final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("FOLDER", folder_,
                   "a folder with a folder of .png and .jpg files for each class")
        ->required();
    app.add_option("--size", size_, "resize all to this height and width; else all must have one")
        ->type_name("HxW");
    auto* gray = app.add_flag("--gray", gray_, "one channel; else when all images are gray");
    app.add_flag("--rgb", rgb_, "three channels, where all images are gray too")->excludes(gray);
    app.add_flag("--skip-bad-files", skip_, "leave damaged images out");
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    data::ImportImagesOptions options;
    if (!size_.empty()) options.size = size_of(size_);
    if (gray_) options.color = data::ImageColor::kGray;
    if (rgb_) options.color = data::ImageColor::kRgb;
    if (skip_) options.bad_files = data::BadInput::kSkip;
    return data::import_images(folder_, output, options);
  }

  std::string folder_;
  std::string size_;
  bool gray_ = false;
  bool rgb_ = false;
  bool skip_ = false;
};

class DataImportNpy final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("X", inputs_, "array of the inputs")->required()->type_name("X.npy");
    app.add_option("Y", targets_, "array of the targets")->type_name("Y.npy");
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    return data::import_npy(inputs_, targets_, output);
  }

  std::string inputs_;
  std::string targets_;
};

class DataImportNpz final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("FILE", path_, "archive of arrays")->required()->type_name("F.npz");
    app.add_option("--inputs", options_.inputs,
                   "array of the inputs; else x and y, X and Y, x_train and y_train, ...")
        ->type_name("NAME");
    app.add_option("--targets", options_.targets, "array of the targets")->type_name("NAME");
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    return data::import_npz(path_, output, options_);
  }

  std::string path_;
  data::ImportNpzOptions options_;
};

/// `word` with \\n, \\r, \\t, \\0 and \\\\ as the bytes they mean.
std::string unescaped(const std::string& word) {
  std::string text;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '\\') {
      text += word[i];
      continue;
    }
    switch (++i < word.size() ? word[i] : ' ') {
      case 'n': text += '\n'; break;
      case 'r': text += '\r'; break;
      case 't': text += '\t'; break;
      case '0': text += '\0'; break;
      case '\\': text += '\\'; break;
      default:
        throw base::ConfigError(
            fmt::format("separator {} has a backslash before nothing that it can mean; write "
                        "\\n, \\r, \\t, \\0 or \\\\",
                        base::quote(word)));
    }
  }
  return text;
}

class DataImportParquet final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("FILE", path_, "Parquet file")->required();
    table_.declare(app);
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    return data::import_parquet(path_, output, table_.options());
  }

  std::string path_;
  TableWords table_;
};

class DataImportText final : public DataImport {
  void declare_inputs(CLI::App& app) override {
    app.add_option("FILE", files_, "text files, one after the other")->required();
    app.add_option("--separator", separator_,
                   "bytes between two files; \\n, \\t and \\0 are known (default: \\n)")
        ->type_name("TEXT");
    app.add_flag("--bytes", bytes_, "take bytes as they are; else they must be UTF-8");
  }
  data::ImportResult import(const data::ImportOutput& output) override {
    return data::import_text(
        files_, output,
        {.separator = unescaped(separator_),
         .encoding = bytes_ ? data::TextEncoding::kAny : data::TextEncoding::kUtf8});
  }

  std::vector<std::string> files_;
  std::string separator_ = "\\n";
  bool bytes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_import_idx() { return std::make_unique<DataImportIdx>(); }
std::unique_ptr<Command> make_data_import_csv() { return std::make_unique<DataImportCsv>(); }
std::unique_ptr<Command> make_data_import_images() { return std::make_unique<DataImportImages>(); }
std::unique_ptr<Command> make_data_import_npy() { return std::make_unique<DataImportNpy>(); }
std::unique_ptr<Command> make_data_import_npz() { return std::make_unique<DataImportNpz>(); }
std::unique_ptr<Command> make_data_import_parquet() {
  return std::make_unique<DataImportParquet>();
}
std::unique_ptr<Command> make_data_import_text() { return std::make_unique<DataImportText>(); }

}  // namespace lockstep::launcher
