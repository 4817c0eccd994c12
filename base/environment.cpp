#include "base/environment.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "base/error.hpp"
#include "base/text.hpp"

extern char** environ;

namespace lockstep::base {
namespace {

struct LauncherNames {
  Launcher launcher;
  const char* rank;
  const char* world_size;
  const char* local_rank;
};

constexpr std::array kLaunchers{
    LauncherNames{Launcher::kOpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                  "OMPI_COMM_WORLD_LOCAL_RANK"},
    LauncherNames{Launcher::kPmix, "PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
    LauncherNames{Launcher::kPmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},
    LauncherNames{Launcher::kSlurm, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
};

int number_of(const std::map<std::string, std::string>& variables, const char* name, int absent) {
  const auto found = variables.find(name);
  if (found == variables.end()) return absent;
  const auto& text = found->second;
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || value < 0) {
    throw EnvironmentError("environment variable " + std::string(name) + " is " + quote(text) +
                           " (a launcher sets it to a whole number); start through mpirun or "
                           "srun, or unset it");
  }
  return value;
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

std::map<std::string, std::string> environment_variables() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const auto equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

LaunchedAs launched_as(const std::map<std::string, std::string>& variables) {
  for (const auto& names : kLaunchers) {
    if (!variables.contains(names.rank)) continue;
    // A shell inside an allocation has SLURM_PROCID too; only a step has a step id.
    if (names.launcher == Launcher::kSlurm && !variables.contains("SLURM_STEP_ID")) continue;
    return {.launcher = names.launcher,
            .rank = number_of(variables, names.rank, 0),
            .world_size = number_of(variables, names.world_size, 0),
            // srun --mpi=pmi2 sets PMI_RANK but leaves the local rank to Slurm's own variable.
            .local_rank =
                number_of(variables, names.local_rank, number_of(variables, "SLURM_LOCALID", 0))};
  }
  return {};
}

std::string cache_directory(const std::map<std::string, std::string>& variables) {
  const auto absolute = [&](const char* name) {
    const auto found = variables.find(name);
    return found != variables.end() && found->second.starts_with('/') ? found->second
                                                                      : std::string();
  };
  if (const auto cache = absolute("XDG_CACHE_HOME"); !cache.empty()) return cache + "/lockstep";
  if (const auto home = absolute("HOME"); !home.empty()) return home + "/.cache/lockstep";
  return {};
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Refused where the kernel knows more cores than cpu_set_t has bits.
  if (::sched_getaffinity(0, sizeof set, &set) != 0) {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  return CPU_COUNT(&set);
}

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

}  // namespace lockstep::base
