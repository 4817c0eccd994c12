#include "comm/device_choice.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::comm {
namespace {

using Numbers = std::vector<std::size_t>;

/// The numbers of a rank's devices by UUID.
Numbers in_order(const std::vector<std::string>& uuids) {
  Numbers numbers(uuids.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  std::ranges::sort(numbers, [&](auto a, auto b) { return uuids[a] < uuids[b]; });
  return numbers;
}

class Matching {
 public:
  explicit Matching(std::span<const std::vector<std::string>> seen)
      : seen_(seen), chosen_(seen.size()) {
    for (const auto& uuids : seen) order_.push_back(in_order(uuids));
  }

  /// Finds `rank` a device that is free, or that becomes free when others move.
  bool place(std::size_t rank) {
    std::map<std::string, bool> visited;
    return place(rank, visited);
  }
  void take(std::size_t rank, std::size_t number) { chosen_[rank] = number; }
  const Numbers& order(std::size_t rank) const { return order_[rank]; }
  std::size_t chosen(std::size_t rank) const { return chosen_[rank].value(); }

 private:
  bool place(std::size_t rank, std::map<std::string, bool>& visited) {
    for (const auto number : order_[rank]) {
      const auto& uuid = seen_[rank][number];
      if (owners_.contains(uuid)) continue;
      give(rank, number);
      return true;
    }
    for (const auto number : order_[rank]) {
      const auto& uuid = seen_[rank][number];
      if (std::exchange(visited[uuid], true)) continue;
      if (!place(owners_.at(uuid), visited)) continue;
      give(rank, number);
      return true;
    }
    return false;
  }

  void give(std::size_t rank, std::size_t number) {
    owners_[seen_[rank][number]] = rank;
    chosen_[rank] = number;
  }

  std::span<const std::vector<std::string>> seen_;
  std::vector<Numbers> order_;
  std::vector<std::optional<std::size_t>> chosen_;
  std::map<std::string, std::size_t> owners_;  // by UUID
};

base::DeviceError none_is_left(std::span<const std::vector<std::string>> seen, std::size_t rank,
                               const std::string& host) {
  const auto& uuid = seen[rank][in_order(seen[rank]).front()];
  const bool slice = uuid.starts_with("MIG-");
  return base::DeviceError(
      "rank " + std::to_string(rank) + " of host " + base::quote(host) +
      " has no device of its own (it sees " + std::to_string(seen[rank].size()) +
      (seen[rank].size() == 1 ? " device" : " devices") + ", " + base::quote(uuid) +
      (seen[rank].size() == 1 ? "" : " first") + ", and other ranks use " +
      (seen[rank].size() == 1 ? "it" : "all of them") + "); " +
      (slice ? "a process sees one MIG slice: set CUDA_VISIBLE_DEVICES for each rank to its own"
             : "use as many ranks as devices, or set compute.share_devices to true"));
}

}  // namespace

std::vector<std::size_t> choose_devices(std::span<const std::vector<std::string>> seen,
                                        const std::string& host, DeviceSharing sharing) {
  Matching matching(seen);
  for (std::size_t rank = 0; rank < seen.size(); ++rank) {
    if (seen[rank].empty()) {
      throw base::DeviceError("rank " + std::to_string(rank) + " of host " + base::quote(host) +
                              " sees no device (the launcher gave it none, or "
                              "CUDA_VISIBLE_DEVICES is empty); ask for one GPU a task");
    }
    if (matching.place(rank)) continue;
    if (sharing == DeviceSharing::kRefused) throw none_is_left(seen, rank, host);
    const auto& order = matching.order(rank);
    matching.take(rank, order[rank % order.size()]);
  }
  Numbers numbers;
  for (std::size_t rank = 0; rank < seen.size(); ++rank) numbers.push_back(matching.chosen(rank));
  return numbers;
}

}  // namespace lockstep::comm
