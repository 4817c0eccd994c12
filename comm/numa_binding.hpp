#pragma once
// Where the threads and the memory of a rank that computes on a GPU belong: at the NUMA node next
// to it. The decision is a pure function of numbers; `NumaTopology` finds those with hwloc and
// carries it out. Used by the worker before it allocates for the device. A topology belongs to one
// thread.

#include <memory>
#include <span>
#include <string>
#include <vector>

struct hwloc_topology;

namespace lockstep::comm {

/// A NUMA node that has CPUs. Each CPU belongs to one: where nodes share CPUs, as main memory and
/// the memory of an accelerator may, to that of the lowest number, which is main memory.
struct NumaNode {
  int number = 0;         ///< as the kernel counts
  std::vector<int> cpus;  ///< as the kernel counts, ascending, never empty
};

enum class NumaOutcome {
  kNothingToDo,  ///< no NUMA node is nearer than another, or nobody knows which
  kBind,
  kLeftAsBound  ///< bound elsewhere already, by whoever started the process
};

struct NumaBinding {
  NumaOutcome outcome = NumaOutcome::kNothingToDo;
  std::vector<int> cpus;   ///< where threads run then; never empty unless nothing was bound before
  std::vector<int> nodes;  ///< where memory is preferred; empty unless kBind
  std::string reason;      ///< for people, of one rank
};

/// Binds to the CPUs of `bound` that are at the nodes nearest to the device, and prefers the memory
/// of those nodes. Never spreads a process over more CPUs than it had. Ranks at the same node
/// share its CPUs. `nodes`: of the machine. `nearest`: numbers of the nodes next to the device,
/// empty where they are not known. `bound`: CPUs that the process may use now, ascending. Local.
NumaBinding decide_numa_binding(std::span<const NumaNode> nodes, std::span<const int> nearest,
                                std::span<const int> bound);

/// CPUs of the nodes of these numbers, ascending.
std::vector<int> cpus_of(std::span<const NumaNode> nodes, std::span<const int> numbers);

/// `0-31,64-95`: ascending numbers as taskset and the kernel write them.
std::string number_list(std::span<const int> numbers);

class NumaTopology {
 public:
  /// Takes milliseconds; calls no CUDA. Throws EnvironmentError.
  static NumaTopology of_this_machine();
  /// Of hwloc's XML, for tests: what is bound to it is not bound. Throws EnvironmentError.
  static NumaTopology from_xml(const std::string& xml);

  /// Ascending by number.
  const std::vector<NumaNode>& nodes() const { return nodes_; }
  /// Numbers of the nodes next to a PCI device such as `0000:1b:00.0`; all of them where none is
  /// nearer than another, none where there is no such device.
  std::vector<int> nearest_to(const std::string& pci) const;
  /// CPUs that the calling thread may use. Throws EnvironmentError.
  std::vector<int> bound_cpus() const;
  /// Binds the calling thread, and with it those that it starts from now on. Other threads of the
  /// process stay where they are, and memory that it has stays as well. A node without free memory
  /// makes no allocation fail: the kernel takes another one. Returns what the system refused, such
  /// as a container that forbids memory policies; empty = nothing.
  std::string bind(const NumaBinding& binding) const;

 private:
  struct Destroy {
    void operator()(hwloc_topology* topology) const;
  };
  using Handle = std::unique_ptr<hwloc_topology, Destroy>;
  static Handle make();
  explicit NumaTopology(Handle handle);

  Handle handle_;
  std::vector<NumaNode> nodes_;
};

}  // namespace lockstep::comm
