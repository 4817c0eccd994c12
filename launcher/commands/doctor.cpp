// `doctor`: checks what a run needs on this machine, each with what to do about it.

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "launcher/captured.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/device_text.hpp"
#include "launcher/launch_plan.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::chrono::seconds kPatience{20};
constexpr std::uint64_t kLittleSharedMemory = 256u << 20;
constexpr std::uint64_t kLittleDisk = 1u << 30;

enum class Outcome { kGood, kWarning, kBad };

struct Check {
  const char* name;
  Outcome outcome;
  std::string finding;
  std::string advice;
};

const char* word_for(Outcome outcome) {
  switch (outcome) {
    case Outcome::kGood: return "ok";
    case Outcome::kWarning: return "warning";
    case Outcome::kBad: return "missing";
  }
  return "";
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Check check_worker(const Variables& environment) {
  const auto worker = find_worker(environment);
  if (worker.empty()) {
    return {"worker", Outcome::kBad, "lockstep-worker is not beside this program",
            "build it: ./bootstrap.sh build"};
  }
  // Whether its libraries are there; 127 is the dynamic linker's refusal.
  const auto answer = run_captured({worker, "--help"}, environment, kPatience);
  if (!answer || answer->exit_code == 127) {
    return {"worker", Outcome::kBad,
            answer ? first_line(answer->errors) : worker + " does not start",
            "build it again: ./bootstrap.sh build"};
  }
  return {"worker", Outcome::kGood, worker, ""};
}

Check check_mpirun(const Variables& environment, int cores) {
  const auto mpirun = find_program("mpirun", environment);
  if (mpirun.empty()) {
    return {"mpirun", Outcome::kBad, "not on the PATH (starts more than one rank)",
            "apt-get install openmpi-bin"};
  }
  LaunchRequest request;
  request.launcher = "mpirun";
  request.ranks = 2;
  request.cores = cores;
  request.root = geteuid() == 0;
  request.environment = environment;
  request.mpirun = mpirun;
  request.worker = {"/bin/true"};
  const auto plan = plan_launch(request);
  auto variables = environment;
  for (const auto& [name, value] : plan.environment) variables[name] = value;
  const auto& clock = base::Clock::system();
  const auto started = clock.now();
  const auto answer = run_captured(plan.argv, variables, kPatience);
  if (!answer || answer->exit_code != 0) {
    return {"mpirun", Outcome::kBad,
            answer ? fmt::format("cannot start 2 processes: {}", first_line(answer->errors))
                   : "cannot start 2 processes in 20 s",
            fmt::format("try it by hand: {}", shell_line(plan))};
  }
  return {"mpirun", Outcome::kGood,
          fmt::format("{} starts 2 processes in {}", mpirun,
                      base::format_duration(clock.now() - started)),
          ""};
}

Check check_shared_memory() {
  const auto space = space_of("/dev/shm");
  if (!space) {
    return {"/dev/shm", Outcome::kBad,
            "is not there (ranks of a node share their parameters in it)",
            "mount -t tmpfs tmpfs /dev/shm"};
  }
  const auto finding = fmt::format("{} free of {}", base::format_bytes(space->free_bytes),
                                   base::format_bytes(space->total_bytes));
  if (space->free_bytes >= kLittleSharedMemory) return {"/dev/shm", Outcome::kGood, finding, ""};
  return {"/dev/shm", Outcome::kWarning, finding,
          "larger models need more: mount -o remount,size=2G /dev/shm (docker: --shm-size=2g)"};
}

Check check_disk() {
  const auto space = space_of(".").value_or(SpaceOnDisk{});
  const auto finding = fmt::format("{} free here", base::format_bytes(space.free_bytes));
  if (access(".", W_OK) != 0) {
    return {"disk", Outcome::kBad, "this directory cannot be written (runs/ is made in it)",
            "change to a directory of your own"};
  }
  if (space.free_bytes >= kLittleDisk) return {"disk", Outcome::kGood, finding, ""};
  return {"disk", Outcome::kWarning, finding, "checkpoints may not fit: free some space"};
}

Check check_git(const Variables& environment) {
  const auto git = find_program("git", environment);
  if (!git.empty()) return {"git", Outcome::kGood, git, ""};
  return {"git", Outcome::kWarning, "not on the PATH (runs note the commit they were made from)",
          "apt-get install git"};
}

/// As the worker's runtime sees them: with what a scheduler hides, and in its order; a line each.
std::vector<Check> check_gpus(const Variables& environment) {
  if (!has_nvidia_driver()) {
    return {{"GPU", Outcome::kGood, "none (no NVIDIA driver); ranks compute on CPUs", ""}};
  }
  const auto worker = find_worker(environment);
  const auto answer =
      worker.empty() ? std::nullopt : run_captured({worker, "devices"}, environment, kPatience);
  if (!answer || answer->exit_code != 0) {
    return {{"GPU", Outcome::kBad,
             answer ? first_line(answer->errors) : "the worker did not list them in 20 s",
             "build with a CUDA toolkit (nvcc) there: ./bootstrap.sh build; see nvidia-smi"}};
  }
  const auto devices = nlohmann::json::parse(answer->output, nullptr, false);
  if (!devices.is_array() || devices.empty()) {
    return {{"GPU", Outcome::kWarning, "a driver and no device that this process may use",
             "look at CUDA_VISIBLE_DEVICES and nvidia-smi"}};
  }
  std::vector<Check> checks;
  for (auto& line : device_lines(devices)) {
    checks.push_back({"GPU", Outcome::kGood, std::move(line), ""});
  }
  return checks;
}

Check describe_machine(int cores) {
  const int nodes = numa_nodes();
  return {"cores", Outcome::kGood,
          fmt::format("{} cores, {} processors, {} NUMA node{}, {} of memory", cores,
                      base::available_cores(), nodes, nodes == 1 ? "" : "s",
                      base::format_bytes(memory_bytes())),
          ""};
}

class Doctor final : public Command {
 public:
  void declare(CLI::App& app) override { app.add_flag("--json", json_, "as JSON"); }

  int run(const Session& session) override {
    const int cores = physical_cores();
    std::vector<Check> checks{check_worker(session.environment),
                              check_mpirun(session.environment, cores), check_shared_memory(),
                              describe_machine(cores)};
    for (auto& check : check_gpus(session.environment)) checks.push_back(std::move(check));
    checks.push_back(check_disk());
    checks.push_back(check_git(session.environment));
    print(json_ ? as_json(checks) : as_text(checks, session.output));
    const bool bad = std::ranges::any_of(
        checks, [](const Check& check) { return check.outcome == Outcome::kBad; });
    return static_cast<int>(bad ? base::ExitCode::kEnvironment : base::ExitCode::kDone);
  }

 private:
  static std::string as_json(const std::vector<Check>& checks) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& check : checks) {
      list.push_back({{"check", check.name},
                      {"status", word_for(check.outcome)},
                      {"finding", check.finding},
                      {"advice", check.advice}});
    }
    return list.dump(2) + "\n";
  }

  static std::string as_text(const std::vector<Check>& checks, const Style& style) {
    Table table({{"check"}, {"status"}, {"finding"}});
    for (const auto& check : checks) {
      const auto tone = check.outcome == Outcome::kGood      ? Tone::kGood
                        : check.outcome == Outcome::kWarning ? Tone::kWarning
                                                             : Tone::kError;
      table.add_row({check.name, paint(style, tone, word_for(check.outcome)), check.finding});
    }
    std::string text = table.text(style);
    for (const auto& check : checks) {
      if (!check.advice.empty()) text += fmt::format("\n{}: {}", check.name, check.advice);
    }
    return text.ends_with('\n') ? text : text + "\n";
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_doctor() { return std::make_unique<Doctor>(); }

}  // namespace lockstep::launcher
