// `data verify F.h5`: reads every element, and compares every byte with the file's manifest.

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"
#include "data/verify.hpp"
#include "launcher/commands/data_options.hpp"

namespace lockstep::launcher {
namespace {

using State = data::ColumnCheck::State;

std::string state_text(const data::ColumnCheck& column, const Style& style) {
  switch (column.state) {
    case State::kGood: return paint(style, Tone::kGood, "good");
    case State::kDamaged: return paint(style, Tone::kError, "damaged");
    case State::kNotRead: break;
  }
  return "not read";
}

std::string damage_text(const data::DamagedRange& range) {
  auto text = fmt::format("bytes {} to {} differ from the manifest",
                          base::format_count(range.begin), base::format_count(range.end - 1));
  for (const auto& part : range.rows) {
    text += fmt::format("\n  dataset {}, rows {} to {}", base::quote(part.column),
                        base::format_count(part.begin), base::format_count(part.end - 1));
  }
  return text + "\n";
}

std::string as_text(const data::VerifyReport& report, const Style& style) {
  std::string text;
  if (!report.columns.empty()) {
    Table table({{"dataset"},
                 {"type"},
                 {"rows", Table::Align::kRight},
                 {"bytes", Table::Align::kRight},
                 {"state"}});
    for (const auto& column : report.columns) {
      table.add_row({column.name, column.type_name,
                     base::format_count(static_cast<std::uint64_t>(column.rows)),
                     base::format_bytes(column.bytes), state_text(column, style)});
    }
    text += table.text(style) + "\n";
  }
  for (const auto& column : report.columns) {
    if (!column.problem.empty()) text += column.problem + "\n";
  }
  if (!report.problem.empty()) text += report.problem + "\n";
  for (const auto& range : report.damaged) text += damage_text(range);
  if (report.manifest.empty()) {
    text += "no manifest to compare with; 'lockstep data verify --write' makes one\n";
  } else if (report.damaged.empty() && report.problem.empty()) {
    text += fmt::format("every byte is as {} says\n", base::quote(report.manifest));
  }
  return text +
         (report.is_good() ? paint(style, Tone::kGood, "verified")
                           : paint(style, Tone::kError, "not verified")) +
         "\n";
}

class DataVerify final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("FILE", path_, "HDF5 file")->required();
    app.add_option("--manifest", manifest_,
                   "checksums to compare with; F.h5.sums when there is one")
        ->type_name("F.h5.sums");
    app.add_flag("--write", write_, "record checksums of a file whose elements can all be read");
    shared_.declare_threads(app);
    app.add_flag("--json", json_, "as JSON");
  }

  int run(const Session& session) override {
    data::VerifyOptions options;
    options.threads = shared_.threads();
    const auto manifest = manifest_.empty() ? data::manifest_path(path_) : manifest_;
    // An older manifest may know better than the file: it is compared with before it is replaced.
    const bool exists = base::FileSystem::posix().exists(manifest);
    if (exists || (!write_ && !manifest_.empty())) options.manifest = manifest;
    const auto report = data::verify(path_, options);
    if (write_ && report.is_good()) {
      data::write_manifest(manifest, data::manifest_of(path_, options.threads));
      print_message(session.messages, fmt::format("wrote {}\n", manifest));
      return 0;
    }
    print(json_ ? data::to_json(report) : as_text(report, session.output));
    if (write_ && exists) {
      print_message(session.messages,
                    fmt::format("{} stays as it is; remove it first if the file was changed on "
                                "purpose\n",
                                manifest));
    }
    return static_cast<int>(report.is_good() ? base::ExitCode::kDone : base::ExitCode::kData);
  }

 private:
  std::string path_;
  std::string manifest_;
  DataOptions shared_;
  bool write_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_data_verify() { return std::make_unique<DataVerify>(); }

}  // namespace lockstep::launcher
