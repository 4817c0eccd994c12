#pragma once
// What a command of the `lockstep` binary is, and the table of all of them. To add one: a file in
// this folder, its maker declared here, a line in the table in commands.cpp.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/terminal.hpp"

namespace CLI {
class App;
}

namespace lockstep::launcher {

/// What every command is given of the process that runs it.
struct Session {
  std::map<std::string, std::string> environment;
  std::vector<std::string> command;  ///< the command line as typed
  Style output;                      ///< of standard output, where results go
  Style messages;                    ///< of standard error
};

class Command {
 public:
  virtual ~Command() = default;
  /// Puts its options and operands onto its own subcommand.
  virtual void declare(CLI::App& app) = 0;
  /// Does it. Returns the exit code; throws base::Error for what ends it early.
  virtual int run(const Session& session) = 0;
};

using MakeCommand = std::unique_ptr<Command> (*)();

struct CommandEntry {
  const char* name;      ///< `train`, or `data synth` for one inside a group
  const char* heading;   ///< where the short help lists it
  const char* synopsis;  ///< operands, as the short help shows them
  const char* summary;
  MakeCommand make;
};

/// All commands in the order of the help.
std::span<const CommandEntry> command_table();

/// To standard output, all of it. Throws IoError when it cannot be written.
void print(std::string_view text);
/// To standard error; clears a progress line that may stand there.
void print_message(const Style& style, std::string_view text);

std::unique_ptr<Command> make_train();
std::unique_ptr<Command> make_plan();
std::unique_ptr<Command> make_resume();
std::unique_ptr<Command> make_evaluate();
std::unique_ptr<Command> make_replay();
std::unique_ptr<Command> make_predict();
std::unique_ptr<Command> make_data_diff();
std::unique_ptr<Command> make_data_import_csv();
std::unique_ptr<Command> make_data_import_idx();
std::unique_ptr<Command> make_data_import_images();
std::unique_ptr<Command> make_data_import_npy();
std::unique_ptr<Command> make_data_import_npz();
std::unique_ptr<Command> make_data_import_parquet();
std::unique_ptr<Command> make_data_import_text();
std::unique_ptr<Command> make_data_inspect();
std::unique_ptr<Command> make_data_repack();
std::unique_ptr<Command> make_data_split();
std::unique_ptr<Command> make_data_stats();
std::unique_ptr<Command> make_data_synth();
std::unique_ptr<Command> make_data_verify();
std::unique_ptr<Command> make_runs();
std::unique_ptr<Command> make_show();
std::unique_ptr<Command> make_verify();
std::unique_ptr<Command> make_config_show();
std::unique_ptr<Command> make_config_explain();
std::unique_ptr<Command> make_config_reference();
std::unique_ptr<Command> make_config_schema();
std::unique_ptr<Command> make_explain();
std::unique_ptr<Command> make_env();
std::unique_ptr<Command> make_bench_comm();
std::unique_ptr<Command> make_doctor();
std::unique_ptr<Command> make_drill();
std::unique_ptr<Command> make_version();

}  // namespace lockstep::launcher
