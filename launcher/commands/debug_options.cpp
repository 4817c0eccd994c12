#include "launcher/commands/debug_options.hpp"

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.hpp"
#include "launcher/machine.hpp"
#include "launcher/step_range.hpp"

namespace lockstep::launcher {
namespace {

/// Somebody sits at the debugger.
constexpr char kPatientDeadline[] = "launch.deadline_seconds=86400";

}  // namespace

void DebugOptions::declare(CLI::App& app) {
  app.add_flag("--anomaly", anomaly,
               "stop at the first operation whose gradient is not a number, and name it");
  app.add_option("--profile", profile,
                 "trace these steps, as steps=20:25: a file a rank in the run's profiles/, for "
                 "Perfetto")
      ->type_name("STEPS");
  app.add_option("--gdb", gdb, "this rank waits for a debugger before it starts")
      ->type_name("RANK")
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("--sanitize{memcheck}", sanitize,
               "run ranks under compute-sanitizer: memcheck, racecheck, initcheck or synccheck")
      ->check(CLI::IsMember({"memcheck", "racecheck", "initcheck", "synccheck"}));
}

std::vector<std::string> DebugOptions::overrides() const {
  std::vector<std::string> result;
  if (any()) result.emplace_back("launch.restarts=0");
  if (gdb || !sanitize.empty()) result.emplace_back(kPatientDeadline);
  return result;
}

void DebugOptions::apply(LaunchRequest& request, const configs::RunConfig& config) const {
  auto& words = request.worker;
  if (anomaly) words.emplace_back("--anomaly");
  if (!profile.empty()) {
    static_cast<void>(parse_steps(profile));  // said now rather than by every rank
    words.insert(words.end(), {"--profile", profile});
  }
  if (gdb) {
    if (*gdb >= request.ranks) {
      throw base::ConfigError(
          fmt::format("--gdb {} names no rank of this run (it has ranks 0 to {}); name one of them",
                      *gdb, request.ranks - 1));
    }
    words.insert(words.end(), {"--gdb", std::to_string(*gdb)});
  }
  if (sanitize.empty()) return;
  if (config.compute.device == "cpu") {
    throw base::ConfigError(
        "--sanitize looks at what a GPU does and compute.device is cpu; leave one of them out");
  }
  const auto program = find_program("compute-sanitizer", request.environment);
  if (program.empty()) {
    throw base::EnvironmentError(
        "compute-sanitizer is not on the PATH (--sanitize runs the ranks under it); install the "
        "CUDA toolkit, or leave --sanitize out");
  }
  words.insert(words.begin(), {program, "--tool", sanitize, "--error-exitcode", "1"});
}

}  // namespace lockstep::launcher
