#include "launcher/machine.hpp"

#include <fmt/core.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

constexpr char kWorkerVariable[] = "LOCKSTEP_WORKER";
constexpr char kWorkerName[] = "lockstep-worker";

bool is_program(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

std::string own_directory() {
  std::error_code failed;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? std::string(".") : path.parent_path().string();
}

}  // namespace

std::string find_program(const std::string& name, const Variables& environment) {
  if (name.find('/') != std::string::npos) return is_program(name) ? name : std::string();
  const auto path = environment.find("PATH");
  if (path == environment.end()) return {};
  for (const auto& directory : base::split(path->second, ':')) {
    auto candidate = base::join_path(directory.empty() ? "." : directory, name);
    if (is_program(candidate)) return candidate;
  }
  return {};
}

std::string find_worker(const Variables& environment) {
  const auto named = environment.find(kWorkerVariable);
  const auto path = named != environment.end() && !named->second.empty()
                        ? named->second
                        : base::join_path(own_directory(), kWorkerName);
  return is_program(path) ? path : std::string();
}

std::string require_worker(const Variables& environment) {
  auto path = find_worker(environment);
  if (!path.empty()) return path;
  throw base::EnvironmentError(
      fmt::format("{} is not beside this program in {} (it computes the run); build it with "
                  "'./bootstrap.sh build', or name one in {}",
                  kWorkerName, base::quote(own_directory()), kWorkerVariable));
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return base::available_cores();
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file(
        fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    std::string siblings;
    // Without that file each processor counts as a core.
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

int numa_nodes() {
  int nodes = 0;
  std::error_code failed;
  for (const auto& entry :
       std::filesystem::directory_iterator("/sys/devices/system/node", failed)) {
    // Nodes of memory alone have an empty list.
    std::ifstream file(entry.path() / "cpulist");
    std::string processors;
    if (std::getline(file, processors) && !processors.empty()) ++nodes;
  }
  return std::max(1, nodes);
}

bool has_nvidia_driver() { return access("/proc/driver/nvidia/version", F_OK) == 0; }

std::optional<SpaceOnDisk> space_of(const std::string& path) {
  struct statvfs space {};
  if (statvfs(path.c_str(), &space) != 0) return std::nullopt;
  return SpaceOnDisk{std::uint64_t{space.f_blocks} * space.f_frsize,
                     std::uint64_t{space.f_bavail} * space.f_frsize};
}

std::uint64_t memory_bytes() {
  const auto pages = sysconf(_SC_PHYS_PAGES);
  const auto page = sysconf(_SC_PAGESIZE);
  return pages < 0 || page < 0
             ? 0
             : static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
}

}  // namespace lockstep::launcher
