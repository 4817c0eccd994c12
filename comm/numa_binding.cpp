#include "comm/numa_binding.hpp"

#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::comm {
namespace {

struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

std::string failure_of(const char* call) {
  const int error = errno;
  return std::string(call) + " failed: " + std::strerror(error);
}

void check(int result, const char* call) {
  if (result >= 0) return;
  throw base::EnvironmentError(failure_of(call) +
                               " (hwloc cannot see this machine); set compute.bind to false");
}

Bitmap bitmap_of(std::span<const int> numbers) {
  Bitmap bitmap(hwloc_bitmap_alloc());
  for (const int number : numbers) {
    check(hwloc_bitmap_set(bitmap.get(), static_cast<unsigned>(number)), "hwloc_bitmap_set");
  }
  return bitmap;
}

std::vector<int> numbers_of(hwloc_const_bitmap_t bitmap) {
  std::vector<int> numbers;
  // A set without an end has no last number.
  const int last = hwloc_bitmap_last(bitmap);
  for (int number = hwloc_bitmap_first(bitmap); number >= 0 && number <= last;
       number = hwloc_bitmap_next(bitmap, number)) {
    numbers.push_back(number);
  }
  return numbers;
}

std::vector<NumaNode> nodes_of(hwloc_topology_t topology) {
  std::vector<NumaNode> nodes;
  for (auto* object = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, nullptr);
       object != nullptr;
       object = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, object)) {
    nodes.push_back({static_cast<int>(object->os_index), numbers_of(object->cpuset)});
  }
  std::ranges::sort(nodes, {}, &NumaNode::number);
  std::set<int> taken;
  for (auto& node : nodes) {
    std::erase_if(node.cpus, [&](int cpu) { return !taken.insert(cpu).second; });
  }
  std::erase_if(nodes, [](const NumaNode& node) { return node.cpus.empty(); });
  return nodes;
}

/// Of two ascending lists.
std::vector<int> common(std::span<const int> left, std::span<const int> right) {
  std::vector<int> both;
  std::ranges::set_intersection(left, right, std::back_inserter(both));
  return both;
}

std::string name_of(std::span<const int> nodes) {
  return (nodes.size() == 1 ? "NUMA node " : "NUMA nodes ") + number_list(nodes);
}

}  // namespace

NumaBinding decide_numa_binding(std::span<const NumaNode> nodes, std::span<const int> nearest,
                                std::span<const int> bound) {
  NumaBinding binding{.outcome = NumaOutcome::kNothingToDo,
                      .cpus = {bound.begin(), bound.end()},
                      .nodes = {},
                      .reason = ""};
  std::vector<int> near;
  for (const auto& node : nodes) {
    if (std::ranges::find(nearest, node.number) != nearest.end()) near.push_back(node.number);
  }
  const auto near_cpus = cpus_of(nodes, near);

  if (nodes.size() < 2) {
    binding.reason = "the machine has one NUMA node";
    return binding;
  }
  if (near.empty()) {
    binding.reason = "the NUMA node of its GPU is not known";
    return binding;
  }
  if (near.size() == nodes.size()) {
    binding.reason = "its GPU is as near to one NUMA node as to another";
    return binding;
  }
  auto cpus = common(bound, near_cpus);
  if (cpus.empty()) {
    binding.outcome = NumaOutcome::kLeftAsBound;
    binding.reason = "this rank is bound to CPUs " + number_list(bound) + ", its GPU is at CPUs " +
                     number_list(near_cpus) + " of " + name_of(near) +
                     " (what goes to the GPU crosses the machine); start it with 'mpirun --bind-to "
                     "none' or 'srun --cpu-bind=none', or with a binding that fits its GPU";
    return binding;
  }
  binding.outcome = NumaOutcome::kBind;
  for (const auto& node : nodes) {
    const bool is_near = std::ranges::find(near, node.number) != near.end();
    if (is_near && !common(node.cpus, cpus).empty()) binding.nodes.push_back(node.number);
  }
  binding.reason = "its GPU is at " + name_of(near) + ": threads on CPUs " + number_list(cpus) +
                   ", memory of " + name_of(binding.nodes);
  binding.cpus = std::move(cpus);
  return binding;
}

std::vector<int> cpus_of(std::span<const NumaNode> nodes, std::span<const int> numbers) {
  std::vector<int> cpus;
  for (const auto& node : nodes) {
    if (std::ranges::find(numbers, node.number) == numbers.end()) continue;
    cpus.insert(cpus.end(), node.cpus.begin(), node.cpus.end());
  }
  std::ranges::sort(cpus);
  return cpus;
}

std::string number_list(std::span<const int> numbers) {
  std::vector<std::string> parts;
  for (std::size_t first = 0; first < numbers.size();) {
    auto last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    parts.push_back(std::to_string(numbers[first]));
    if (last > first) parts.back() += "-" + std::to_string(numbers[last]);
    first = last + 1;
  }
  return base::joined(parts, ",");
}

void NumaTopology::Destroy::operator()(hwloc_topology* topology) const {
  hwloc_topology_destroy(topology);
}

NumaTopology::Handle NumaTopology::make() {
  hwloc_topology* topology = nullptr;
  check(hwloc_topology_init(&topology), "hwloc_topology_init");
  Handle handle(topology);
  // Devices of the operating system stay out: some of hwloc's plugins would start OpenCL or CUDA.
  check(hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_ALL),
        "hwloc_topology_set_type_filter");
  check(hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING),
        "hwloc_topology_set_flags");
  return handle;
}

NumaTopology::NumaTopology(Handle handle) : handle_(std::move(handle)) {
  check(hwloc_topology_load(handle_.get()), "hwloc_topology_load");
  nodes_ = nodes_of(handle_.get());
}

NumaTopology NumaTopology::of_this_machine() { return NumaTopology(make()); }

NumaTopology NumaTopology::from_xml(const std::string& xml) {
  auto handle = make();
  // The size counts the zero at the end.
  check(hwloc_topology_set_xmlbuffer(handle.get(), xml.c_str(), static_cast<int>(xml.size()) + 1),
        "hwloc_topology_set_xmlbuffer");
  return NumaTopology(std::move(handle));
}

std::vector<int> NumaTopology::nearest_to(const std::string& pci) const {
  auto* device = hwloc_get_pcidev_by_busidstring(handle_.get(), pci.c_str());
  if (device == nullptr) return {};
  const auto* place = hwloc_get_non_io_ancestor_obj(handle_.get(), device);
  if (place == nullptr || place->cpuset == nullptr) return {};
  const auto cpus = numbers_of(place->cpuset);
  std::vector<int> nearest;
  for (const auto& node : nodes_) {
    if (!common(node.cpus, cpus).empty()) nearest.push_back(node.number);
  }
  return nearest;
}

std::vector<int> NumaTopology::bound_cpus() const {
  const auto cpus = bitmap_of({});
  check(hwloc_get_cpubind(handle_.get(), cpus.get(), HWLOC_CPUBIND_THREAD), "hwloc_get_cpubind");
  return numbers_of(cpus.get());
}

std::string NumaTopology::bind(const NumaBinding& binding) const {
  if (binding.outcome != NumaOutcome::kBind) return "";
  std::vector<std::string> refused;
  const auto cpus = bitmap_of(binding.cpus);
  if (hwloc_set_cpubind(handle_.get(), cpus.get(), HWLOC_CPUBIND_THREAD) < 0) {
    refused.push_back(failure_of("hwloc_set_cpubind"));
  }
  const auto nodes = bitmap_of(binding.nodes);
  // Without HWLOC_MEMBIND_STRICT it is MPOL_PREFERRED (or _MANY), not MPOL_BIND: a preference.
  if (hwloc_set_membind(handle_.get(), nodes.get(), HWLOC_MEMBIND_BIND,
                        HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET) < 0) {
    refused.push_back(failure_of("hwloc_set_membind"));
  }
  return base::joined(refused);
}

}  // namespace lockstep::comm
