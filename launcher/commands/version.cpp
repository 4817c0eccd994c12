// `version`: version and build of this binary.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <build_id.hpp>

#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

class Version final : public Command {
 public:
  void declare(CLI::App&) override {}
  int run(const Session&) override {
    print(fmt::format("lockstep {} ({})\n", kVersion, kBuildId));
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> make_version() { return std::make_unique<Version>(); }

}  // namespace lockstep::launcher
