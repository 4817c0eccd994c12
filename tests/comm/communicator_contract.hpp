#pragma once
// What every backend must do, as checks that all ranks of a group run together. The serial, thread
// and MPI tests run all of them; a new backend is done when it passes.

#include <ostream>
#include <span>

#include "comm/communicator.hpp"

namespace lockstep::comm {

struct ContractCase {
  const char* name;
  void (*check)(Communicator&);
  friend std::ostream& operator<<(std::ostream& out, const ContractCase& each) {
    return out << each.name;
  }
};

/// Checks that leave the group as good as they found it. For any number of ranks.
std::span<const ContractCase> contract_cases();

/// The same for NodeMemory and its barrier over a group whose ranks share memory.
std::span<const ContractCase> node_memory_contract_cases();

/// Checks at whose end the group has failed: each needs a fresh one of at least two ranks.
std::span<const ContractCase> failure_contract_cases();

}  // namespace lockstep::comm
