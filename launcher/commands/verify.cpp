// `verify RUN`: recomputes the ledger's chain and the checkpoint's digests.

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "checkpoints/registry.hpp"
#include "launcher/commands/run_operand.hpp"

namespace lockstep::launcher {
namespace {

class Verify final : public Command {
 public:
  void declare(CLI::App& app) override { run_.declare(app); }

  int run(const Session& session) override {
    const auto result = checkpoints::verify_run(base::FileSystem::posix(), run_.open());
    std::string text;
    for (const auto& line : result.lines) text += line + "\n";
    text += result.good ? paint(session.output, Tone::kGood, "verified") + "\n"
                        : paint(session.output, Tone::kError, "not verified") + "\n";
    print(text);
    return static_cast<int>(result.good ? base::ExitCode::kDone : base::ExitCode::kGate);
  }

 private:
  RunOperand run_;
};

}  // namespace

std::unique_ptr<Command> make_verify() { return std::make_unique<Verify>(); }

}  // namespace lockstep::launcher
