#include "launcher/worker_device.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "comm/device_choice.hpp"
#include "comm/numa_binding.hpp"

namespace lockstep::launcher {
namespace {

std::vector<std::string> uuids_of(const std::vector<trainer::GpuInfo>& devices) {
  std::vector<std::string> uuids;
  for (const auto& device : devices) uuids.push_back(device.uuid);
  return uuids;
}

/// Takes this rank to the NUMA node next to its GPU, before it starts threads and allocates memory.
/// MPI's threads stay where MPI put them. A machine that refuses computes all the same.
void bind_beside(const std::string& pci, base::Log& log) {
  try {
    const auto topology = comm::NumaTopology::of_this_machine();
    const auto binding = comm::decide_numa_binding(topology.nodes(), topology.nearest_to(pci),
                                                   topology.bound_cpus());
    if (binding.outcome == comm::NumaOutcome::kLeftAsBound) return log.warning(binding.reason);
    const auto refused = topology.bind(binding);
    log.debug(binding.reason + (refused.empty() ? "" : " (not all of it: " + refused + ")"));
  } catch (const base::EnvironmentError& error) {
    log.warning(error.what());
  }
}

/// The NUMA node next to a device and its CPUs; null where no node is nearer than another. A
/// machine with one node has its devices there.
nlohmann::ordered_json place_of(const comm::NumaTopology* topology, const std::string& pci) {
  nlohmann::ordered_json place{{"numa_node", nullptr}, {"cpus", nullptr}};
  if (topology == nullptr) return place;
  const auto& nodes = topology->nodes();
  const auto nearest = topology->nearest_to(pci);
  if (nearest.empty() || (nearest.size() == nodes.size() && nodes.size() > 1)) return place;
  place["numa_node"] = nearest.front();
  place["cpus"] = comm::number_list(comm::cpus_of(nodes, nearest));
  return place;
}

std::optional<comm::NumaTopology> numa_topology() {
  try {
    return comm::NumaTopology::of_this_machine();
  } catch (const base::EnvironmentError&) {
    return std::nullopt;
  }
}

/// The rank of this host that takes each device when all ranks see what this process sees.
std::vector<nlohmann::ordered_json> takers_of(const std::vector<trainer::GpuInfo>& devices) {
  std::vector<nlohmann::ordered_json> takers(devices.size());
  const auto uuids = uuids_of(devices);
  // Ranks on MIG slices see one each.
  if (std::ranges::any_of(uuids, [](const auto& uuid) { return uuid.starts_with("MIG-"); })) {
    return takers;
  }
  const std::vector<std::vector<std::string>> seen(devices.size(), uuids);
  const auto chosen = comm::choose_devices(seen, base::host_name(), comm::DeviceSharing::kRefused);
  for (std::size_t rank = 0; rank < chosen.size(); ++rank) takers[chosen[rank]] = rank;
  return takers;
}

}  // namespace

void load_device(Worker& worker) {
  const auto& wanted = worker.loaded.config.compute.device;
  if (wanted == "cpu" || worker.arguments.verb == Verb::kBenchComm) return;
  if (!trainer::has_gpu_driver()) {
    if (wanted == "auto") return;
    throw base::DeviceError(
        "device 'cuda' was asked for and this machine has no NVIDIA driver (no GPU can be used); "
        "set compute.device to auto or run elsewhere");
  }
  if (wanted == "auto" && trainer::find_gpu_module().empty()) return;
  try {
    worker.gpus = &trainer::load_gpu_module();
    worker.gpus_seen = worker.gpus->devices();
  } catch (const base::DeviceError& error) {
    if (wanted != "auto") throw;
    // As in a container on a host with GPUs that was given none.
    worker.gpus = nullptr;
    worker.device_problem = error.what();
  }
}

void take_device(Worker& worker, WorkerSession& session, base::Log& log) {
  const auto& compute = worker.loaded.config.compute;
  if (compute.device == "cpu") return;
  auto& node = session.group().node;
  const auto& mine = worker.gpus_seen;
  const auto lists = node.all_gather_texts(base::joined(uuids_of(mine), "\n"), "devices");
  std::vector<std::vector<std::string>> seen;
  for (const auto& list : lists) {
    seen.push_back(list.empty() ? std::vector<std::string>() : base::split(list, '\n'));
  }
  if (!worker.device_problem.empty() && session.world().rank() == 0) {
    log.warning("computing on the CPU: " + worker.device_problem);
  }
  const bool trains = worker.writes_run() || worker.arguments.verb == Verb::kReplay;
  if (trains && compute.share_devices && session.world().size() > 1 && !mine.empty()) {
    throw base::ConfigError(
        "compute.share_devices is for evaluation and prediction (NCCL takes one rank a GPU); train "
        "on one rank, or on as many as there are GPUs");
  }
  // All ranks of the run or none: the choice is the same everywhere.
  std::int64_t some = mine.empty() ? 0 : 1;
  session.world().all_reduce(std::span(&some, 1), comm::ReduceOp::kMin, "whether all see a device");
  if (some == 0 && compute.device == "auto") return;
  const auto chosen = comm::choose_devices(
      seen, base::host_name(),
      compute.share_devices ? comm::DeviceSharing::kAllowed : comm::DeviceSharing::kRefused);
  const auto number = chosen[static_cast<std::size_t>(node.rank())];
  const auto& device = mine.at(number);
  log.debug("computes on " + device.name + " " + device.uuid + " at " + device.pci);
  worker.device_name = device.name;
  if (compute.bind) bind_beside(device.pci, log);
  const bool invariant = worker.loaded.config.train.reduction != "fast";
  // The bits are those of one model of GPU.
  if (invariant) comm::require_agreement(session.world(), "model of GPU", device.name);
  worker.device = worker.gpus->use(number, invariant);
  if (session.world().rank() == 0) {
    worker.device->warn = [&log](const std::string& words) { log.warning(words); };
  }
}

std::string devices_json() {
  auto list = nlohmann::ordered_json::array();
  const auto devices = trainer::load_gpu_module().devices();
  const auto takers = takers_of(devices);
  const auto topology = numa_topology();
  for (std::size_t number = 0; number < devices.size(); ++number) {
    const auto& device = devices[number];
    list.push_back({{"uuid", device.uuid},
                    {"name", device.name},
                    {"pci", device.pci},
                    {"memory_bytes", device.memory_bytes}});
    list.back().update(place_of(topology ? &*topology : nullptr, device.pci));
    list.back()["rank"] = takers[number];
  }
  return list.dump();
}

}  // namespace lockstep::launcher
