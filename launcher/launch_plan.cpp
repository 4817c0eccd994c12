#include "launcher/launch_plan.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/micro_batch_plan.hpp"

namespace lockstep::launcher {
namespace {

using Variables = std::map<std::string, std::string>;

constexpr int kMaxSlots = 1 << 20;

bool has(const Variables& variables, const char* name) { return variables.contains(name); }

LaunchKind choose_kind(const LaunchRequest& request) {
  if (request.launcher == "local") return LaunchKind::kLocal;
  if (request.launcher == "mpirun") return LaunchKind::kMpirun;
  if (request.launcher == "srun") return LaunchKind::kSrun;
  if (request.launcher != "auto") {
    static const std::array<std::string, 4> kNames{"auto", "local", "mpirun", "srun"};
    const auto nearest = base::nearest_name(request.launcher, kNames);
    throw base::ConfigError(
        fmt::format("launcher {} is not known (it decides what starts the ranks); {}",
                    base::quote(request.launcher),
                    nearest ? "did you mean '" + *nearest + "'?"
                            : std::string("use auto, local, mpirun or srun")));
  }
  if (has(request.environment, "SLURM_JOB_ID") && !request.srun.empty()) return LaunchKind::kSrun;
  return request.ranks > 1 || !request.hosts.empty() ? LaunchKind::kMpirun : LaunchKind::kLocal;
}

int slots_of(const std::vector<HostSlots>& hosts) {
  int slots = 0;
  for (const auto& host : hosts) slots += host.slots;
  return slots;
}

std::string host_list(const std::vector<HostSlots>& hosts) {
  std::vector<std::string> parts;
  parts.reserve(hosts.size());
  for (const auto& host : hosts) parts.push_back(fmt::format("{}:{}", host.host, host.slots));
  return base::joined(parts, ",");
}

int most_ranks_on_a_host(const LaunchRequest& request) {
  int most = request.hosts.empty() ? request.ranks : 0;
  for (const auto& host : request.hosts) most = std::max(most, host.slots);
  return std::min(most, request.ranks);
}

/// Whether mpirun starts all ranks here: no list of hosts and no batch system that gives one.
bool on_this_host_alone(const LaunchRequest& request) {
  static constexpr std::array kBatchSystems{"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID",
                                            "PE_HOSTFILE"};
  return request.hosts.empty() && std::ranges::none_of(kBatchSystems, [&](const char* name) {
           return has(request.environment, name);
         });
}

/// Open MPI's settings (4.1 reads OMPI_MCA_*, 5.0 PRTE_MCA_* where the runtime is meant).
Variables mpirun_settings(const LaunchRequest& request, bool crowded) {
  Variables settings;
  if (request.root) {
    settings["OMPI_ALLOW_RUN_AS_ROOT"] = "1";
    settings["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1";
  }
  if (crowded) settings["OMPI_MCA_mpi_yield_when_idle"] = "1";
  // A host that loses its power says nothing: without this Open MPI never notices.
  if (!request.hosts.empty()) {
    settings["OMPI_MCA_oob_tcp_keepalive_time"] = "2";
    settings["OMPI_MCA_oob_tcp_keepalive_intvl"] = "1";
    settings["OMPI_MCA_oob_tcp_keepalive_probes"] = "2";
  }
  if (on_this_host_alone(request)) {
    // Open MPI would otherwise listen on, and route through, the machine's outer address; and
    // containers forbid the system call behind vader's single copies.
    settings["OMPI_MCA_btl"] = "self,vader";
    settings["OMPI_MCA_btl_vader_single_copy_mechanism"] = "none";
    settings["OMPI_MCA_btl_tcp_if_include"] = "lo";
    settings["OMPI_MCA_oob_tcp_if_include"] = "lo";
    settings["PRTE_MCA_oob_tcp_if_include"] = "lo";
  }
  return settings;
}

void add_binding(std::vector<std::string>& argv, const LaunchRequest& request, bool crowded) {
  if (crowded) argv.push_back("--oversubscribe");
  // The user's own binding policy stands: two jobs on one machine must not share core 0.
  if (has(request.environment, "OMPI_MCA_hwloc_base_binding_policy") ||
      has(request.environment, "PRTE_MCA_hwloc_default_binding_policy")) {
    return;
  }
  const bool to_cores = !crowded && request.binding == RankBinding::kToCores;
  if (to_cores && request.threads > 1) {
    argv.insert(argv.end(), {"--map-by", fmt::format("slot:PE={}", request.threads)});
  }
  argv.insert(argv.end(), {"--bind-to", to_cores ? "core" : "none"});
}

void plan_mpirun(const LaunchRequest& request, LaunchPlan& plan) {
  if (request.mpirun.empty()) {
    throw base::EnvironmentError(
        fmt::format("mpirun is not on the PATH (it starts {} ranks); install the Debian package "
                    "'openmpi-bin', or use --local for one process",
                    request.ranks));
  }
  const bool crowded = most_ranks_on_a_host(request) * request.threads > request.cores;
  for (const auto& [name, value] : mpirun_settings(request, crowded)) {
    if (!has(request.environment, name.c_str())) plan.environment[name] = value;
  }
  plan.argv = {request.mpirun, "-n", std::to_string(request.ranks)};
  if (!request.hosts.empty()) {
    plan.argv.insert(plan.argv.end(), {"--host", host_list(request.hosts)});
  }
  add_binding(plan.argv, request, crowded);
  for (const auto& [name, value] : request.additions) {
    plan.argv.insert(plan.argv.end(), {"-x", name});
  }
  if (!request.hosts.empty() && has(request.environment, "LD_LIBRARY_PATH")) {
    plan.argv.insert(plan.argv.end(), {"-x", "LD_LIBRARY_PATH"});
  }
}

void plan_srun(const LaunchRequest& request, LaunchPlan& plan) {
  if (request.srun.empty()) {
    throw base::EnvironmentError(
        "srun is not on the PATH (it starts the ranks inside a Slurm job); log in to a machine "
        "of the cluster, or use --launcher mpirun");
  }
  // Ranks of a node must follow each other: they share its memory.
  plan.argv = {request.srun,           "--mpi=pmix",          "-n", std::to_string(request.ranks),
               "--kill-on-bad-exit=1", "--distribution=block"};
  if (!request.hosts.empty()) {
    std::vector<std::string> names;
    names.reserve(request.hosts.size());
    for (const auto& host : request.hosts) names.push_back(host.host);
    plan.argv.push_back("--nodelist=" + base::joined(names, ","));
  }
  if (request.threads > 1) plan.argv.push_back(fmt::format("--cpus-per-task={}", request.threads));
}

void check(const LaunchRequest& request, LaunchKind kind) {
  if (request.ranks < 1) {
    throw base::ConfigError(fmt::format(
        "{} ranks cannot compute anything (a run needs one process at least); use --ranks 1 or "
        "more",
        request.ranks));
  }
  if (kind == LaunchKind::kLocal && request.ranks > 1) {
    throw base::ConfigError(fmt::format(
        "{} ranks were asked for with the local launcher (it runs one process without MPI); leave "
        "--ranks out, or use --launcher mpirun",
        request.ranks));
  }
  if (kind == LaunchKind::kLocal && !request.hosts.empty()) {
    throw base::ConfigError(
        "hosts were given with the local launcher (it runs one process here); leave --hosts out, "
        "or use --launcher mpirun");
  }
  if (!request.hosts.empty() && request.ranks > slots_of(request.hosts)) {
    throw base::ConfigError(
        fmt::format("{} ranks do not fit the hosts {} ({} slots in all); use --ranks {} or raise "
                    "the numbers behind the colons",
                    request.ranks, base::quote(host_list(request.hosts)), slots_of(request.hosts),
                    slots_of(request.hosts)));
  }
}

}  // namespace

std::vector<HostSlots> parse_hosts(std::string_view text) {
  std::vector<HostSlots> hosts;
  for (const auto& part : base::split(text, ',')) {
    HostSlots host;
    const auto colon = part.find(':');
    host.host = part.substr(0, colon);
    bool good = !host.host.empty() && host.host.front() != '-' &&
                std::ranges::all_of(host.host, [](unsigned char c) {
                  return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
                });
    if (good && colon != std::string::npos) {
      const auto* end = part.data() + part.size();
      const auto [stop, error] = std::from_chars(part.data() + colon + 1, end, host.slots);
      good = error == std::errc() && stop == end && host.slots >= 1 && host.slots <= kMaxSlots;
    }
    if (!good) {
      throw base::ConfigError(
          fmt::format("hosts {} cannot be read at {} (each part is a host name, a colon and a "
                      "number of ranks); write for example --hosts node1:4,node2:4",
                      base::quote(text), base::quote(part)));
    }
    hosts.push_back(std::move(host));
  }
  return hosts;
}

bool has_other_hosts(const LaunchRequest& request) {
  const auto nodes = request.environment.find("SLURM_NNODES");
  return !request.hosts.empty() || (nodes != request.environment.end() && nodes->second != "1");
}

LaunchPlan plan_launch(const LaunchRequest& request) {
  LaunchPlan plan;
  plan.kind = choose_kind(request);
  plan.all_here = plan.kind == LaunchKind::kLocal ||
                  (plan.kind == LaunchKind::kMpirun && on_this_host_alone(request));
  plan.ranks = request.ranks;
  check(request, plan.kind);
  if (request.micro_batches > 0) {
    const comm::MicroBatchPlan micro_batches(request.micro_batches, request.ranks);
    for (int rank = 0; rank < request.ranks; ++rank) {
      plan.micro_batches.push_back(micro_batches.range_of(rank));
    }
  }
  plan.environment = request.additions;
  if (plan.kind == LaunchKind::kMpirun) plan_mpirun(request, plan);
  if (plan.kind == LaunchKind::kSrun) plan_srun(request, plan);
  plan.argv.insert(plan.argv.end(), request.worker.begin(), request.worker.end());
  return plan;
}

const char* name_of(LaunchKind kind) {
  switch (kind) {
    case LaunchKind::kLocal: return "local";
    case LaunchKind::kMpirun: return "mpirun";
    case LaunchKind::kSrun: return "srun";
  }
  return "unknown";
}

std::string shell_quoted(std::string_view word) {
  static constexpr std::string_view kPlain = "%+,-./:=@_";
  const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) ||
           kPlain.find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string shell_line(const LaunchPlan& plan) {
  std::vector<std::string> words;
  for (const auto& [name, value] : plan.environment) {
    words.push_back(name + "=" + shell_quoted(value));
  }
  for (const auto& word : plan.argv) words.push_back(shell_quoted(word));
  return base::joined(words, " ");
}

}  // namespace lockstep::launcher
