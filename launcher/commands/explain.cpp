// `explain CODE`: what an exit code means and what to do.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

struct Advice {
  ExitCode code;
  const char* text;
};

constexpr std::array kAdvice{
    Advice{ExitCode::kDone, "nothing is left to do; 'lockstep show latest' tells the result"},
    Advice{ExitCode::kFailed,
           "read the failure table and RUN/events.jsonl, then the log of the "
           "rank that they name"},
    Advice{ExitCode::kUsage,
           "correct what the message points at; 'lockstep config reference' "
           "lists every knob"},
    Advice{ExitCode::kData,
           "look at the file that the message names with 'lockstep data "
           "inspect FILE'"},
    Advice{ExitCode::kEnvironment, "run 'lockstep doctor': it checks what a run needs here"},
    Advice{ExitCode::kDiverged,
           "start a run with a lower train.optimizer.lr, with train.clip_norm "
           "or with another train.divergence.policy"},
    Advice{ExitCode::kCheckpoint,
           "run 'lockstep verify RUN': it names the damaged files; 'lockstep "
           "resume RUN' takes the newest checkpoint that is good"},
    Advice{
        ExitCode::kGate,
        "the run or the data themselves could be read; compare what was found with what was asked "
        "(the table of 'lockstep drill' says what differed)"},
    Advice{ExitCode::kRestarts,
           "the same failure came back; remove its cause, then 'lockstep "
           "resume RUN'"},
    Advice{ExitCode::kStopped, "'lockstep resume RUN' goes on where it stopped"},
    Advice{ExitCode::kWallLimit,
           "give it more time or save more often "
           "(checkpoint.every_steps), then 'lockstep resume RUN'"},
    Advice{ExitCode::kInterrupted, "'lockstep resume RUN' goes on from the last checkpoint"},
    Advice{ExitCode::kTerminated, "'lockstep resume RUN' goes on from the last checkpoint"},
};

class Explain final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("CODE", code_, "exit code of a command")->required();
  }
  int run(const Session& session) override {
    const auto known = std::ranges::find(kAdvice, static_cast<ExitCode>(code_), &Advice::code);
    if (known != kAdvice.end()) {
      print(fmt::format("{} {}\n{}\n",
                        paint(session.output, Tone::kStrong, fmt::format("{}:", code_)),
                        describe(known->code), known->text));
      return 0;
    }
    if (code_ > 128 && code_ < 128 + 65) {
      print(fmt::format("{}: ended by {}\n", code_, name_of_signal(code_ - 128)));
      return 0;
    }
    std::string codes;
    for (const auto& advice : kAdvice) {
      codes += fmt::format("{}{}", codes.empty() ? "" : ", ", static_cast<int>(advice.code));
    }
    throw base::ConfigError(fmt::format(
        "exit code {} is none of this program's (it uses {}); give one of those", code_, codes));
  }

 private:
  int code_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_explain() { return std::make_unique<Explain>(); }

}  // namespace lockstep::launcher
