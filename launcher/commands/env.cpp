// `env`: versions and what was found on this machine, to be pasted into a bug report.

#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <build_id.hpp>
#include <nlohmann/json.hpp>

#include "base/environment.hpp"
#include "base/text.hpp"
#include "launcher/captured.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::seconds kPatience{5};

std::string first_line_of(const std::string& program, const Variables& environment) {
  if (program.empty()) return "not found";
  const auto captured = run_captured({program, "--version"}, environment, kPatience);
  if (!captured || captured->exit_code != 0) return "does not answer to --version";
  return captured->output.substr(0, captured->output.find('\n'));
}

/// Variables that change how ranks start or compute; nothing private is among them.
ordered_json relevant_variables(const Variables& environment) {
  ordered_json found = ordered_json::object();
  for (const auto& [name, value] : environment) {
    bool relevant = name == "LD_LIBRARY_PATH" || name == "CUDA_VISIBLE_DEVICES";
    for (const char* prefix : {"LOCKSTEP_", "OMPI_", "PRTE_", "PMIX_", "SLURM_JOB", "SLURM_NTASKS",
                               "SLURM_NNODES", "NCCL_", "OMP_", "MKL_"}) {
      relevant = relevant || name.starts_with(prefix);
    }
    if (relevant) found[name] = value;
  }
  return found;
}

ordered_json describe_environment(const Variables& environment) {
  utsname system{};
  uname(&system);
  const auto shared = space_of("/dev/shm").value_or(SpaceOnDisk{});
  const auto worker = find_worker(environment);
  return {{"version", kVersion},
          {"build", kBuildId},
          {"host", base::host_name()},
          {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
          {"cores", physical_cores()},
          {"processors", base::available_cores()},
          {"memory", base::format_bytes(memory_bytes())},
          {"shared_memory", base::format_bytes(shared.total_bytes) + ", " +
                                base::format_bytes(shared.free_bytes) + " free"},
          {"worker", worker.empty() ? "not found" : worker},
          {"mpirun", first_line_of(find_program("mpirun", environment), environment)},
          {"srun", first_line_of(find_program("srun", environment), environment)},
          {"git", first_line_of(find_program("git", environment), environment)},
          {"variables", relevant_variables(environment)}};
}

class Env final : public Command {
 public:
  void declare(CLI::App& app) override { app.add_flag("--json", json_, "as JSON"); }
  int run(const Session& session) override {
    const auto facts = describe_environment(session.environment);
    if (json_) {
      print(facts.dump(2) + "\n");
      return 0;
    }
    std::string text;
    const auto add_line = [&](const std::string& name, const ordered_json& value) {
      text += name + std::string(name.size() < 15 ? 15 - name.size() : 1, ' ') +
              (value.is_string() ? value.get<std::string>() : value.dump()) + "\n";
    };
    for (const auto& [name, value] : facts.items()) {
      if (name != "variables") add_line(name, value);
    }
    for (const auto& [name, value] : facts["variables"].items()) {
      text += name + "=" + value.get<std::string>() + "\n";
    }
    print(text);
    return 0;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_env() { return std::make_unique<Env>(); }

}  // namespace lockstep::launcher
