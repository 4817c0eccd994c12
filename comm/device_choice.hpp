#pragma once
// Which of the devices that the ranks of a host can see is whose: a pure function, the same answer
// on every rank, whether a launcher shows each rank one device (`--gpus-per-task=1`) or all ranks
// all of them, in whatever order. Used by the worker.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace lockstep::comm {

enum class DeviceSharing {
  kRefused,
  kAllowed,  ///< ranks for whom no device of their own is left take one in turn
};

/// `seen`: for each rank of one host, in order, the UUIDs of its devices in the order in which the
/// runtime numbers them (`GPU-...`, `MIG-...`). Returns the number of each rank's device in its own
/// list. No two ranks get the same device where there is any way to avoid it (a bipartite matching
/// by augmenting paths; Kuhn 1955, Berge 1957); ranks that see the same get them in UUID order, so
/// that a rank keeps its device from one launch to the next.
/// Throws DeviceError naming the rank that sees none, or the ranks that would have to share.
std::vector<std::size_t> choose_devices(std::span<const std::vector<std::string>> seen,
                                        const std::string& host, DeviceSharing sharing);

}  // namespace lockstep::comm
