#include <cstdio>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "comm/communicator.hpp"
#include "comm/micro_batch_plan.hpp"
#include "comm/thread_communicator.hpp"

namespace base = lockstep::base;
namespace comm = lockstep::comm;

int main() {
  try {
    const comm::MicroBatchPlan plan(8, 3);
    const auto range = plan.range_of(1);
    std::printf("rank 1 of 3 computes micro-batches %lld to %lld\n",
                static_cast<long long>(range.begin), static_cast<long long>(range.end - 1));
    if (range != comm::LeafRange{3, 6}) return 1;

    comm::run_on_threads(3, [](comm::Communicator& group) { group.barrier("the end"); });
    const auto digest = base::sha256_hex("abc");
    std::printf("sha256 of abc: %s\n", digest.c_str());
    return digest.starts_with("ba7816bf") ? 0 : 1;
  } catch (const base::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
