#pragma once
// A device and an NCCL without either: streams are threads with a queue, collectives meet in
// memory, and everything that the real ones can do wrong can be asked for. One FakeGpu serves all
// ranks of a test, which are threads of one process.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/device_exchange.hpp"
#include "comm/fold.hpp"
#include "comm/nccl_api.hpp"

namespace lockstep::tests {

class FakeDevice final : public comm::DeviceApi {
 public:
  ~FakeDevice() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy_to_host(void* to, const void* from, std::size_t bytes,
                    comm::DeviceStream stream) override;
  void copy_to_device(void* to, const void* from, std::size_t bytes,
                      comm::DeviceStream stream) override;
  void copy_within(void* to, const void* from, std::size_t bytes,
                   comm::DeviceStream stream) override;
  bool pin(void* memory, std::size_t bytes) noexcept override;
  void unpin(void* memory) noexcept override;
  comm::DeviceStream make_stream() override;
  void end_stream(comm::DeviceStream stream) noexcept override;
  comm::DeviceEvent make_event() override;
  comm::DeviceEvent make_timer() override { return make_event(); }
  double seconds_between(comm::DeviceEvent begin, comm::DeviceEvent end) override;
  void end_event(comm::DeviceEvent event) noexcept override;
  void record(comm::DeviceEvent event, comm::DeviceStream stream) override;
  void wait(comm::DeviceStream stream, comm::DeviceEvent event) override;
  bool is_done(comm::DeviceEvent event) override;

  /// As a kernel: `work` runs when all before it in `stream` has.
  static void launch(comm::DeviceStream stream, std::function<void()> work);
  /// Returns when all that is in `stream` has run.
  static void join(comm::DeviceStream stream);
  /// Streams that were made and not ended.
  int streams() const { return streams_; }
  /// Pieces of host memory that are pinned.
  int pinned() const { return pinned_; }

 private:
  std::atomic<int> streams_{0}, pinned_{0};
};

/// The fold kernel's reference in its place.
class ReferenceFold final : public comm::DeviceFold {
 public:
  void fold(std::span<const float* const> partials, std::span<const comm::FoldStep> program,
            float* out, std::size_t count, comm::DeviceStream stream) override {
    FakeDevice::launch(stream, [inputs = std::vector(partials.begin(), partials.end()),
                                steps = std::vector(program.begin(), program.end()), out,
                                count] { comm::fold_partials(inputs, steps, out, 0, count); });
  }
};

/// What goes wrong, by rank. Operations count from 1, those that meet only.
struct NcclFaults {
  int version = 22809;
  bool no_id = false;
  bool init_fails = false;
  bool init_never_ends = false;
  int polls = 0;                   ///< how often a call is in progress before it is done
  int refused = 0;                 ///< operation whose call fails
  int breaks = 0;                  ///< operation during which the library notices an error
  int stuck = 0;                   ///< operation that this rank's device never takes part in
  bool end_never_returns = false;  ///< neither finalize nor abort
};

class FakeNccl final : public comm::NcclApi {
 public:
  explicit FakeNccl(std::map<int, NcclFaults> faults = {}) : faults_(std::move(faults)) {}
  ~FakeNccl() override;
  /// Ends every operation and call that hangs.
  void let_go();
  int aborted() const { return aborted_; }
  int destroyed() const { return destroyed_; }

  /// Which rank the calling thread is, for calls without a handle.
  static thread_local int rank_of_thread;

  int version() override;
  comm::NcclResult make_id(comm::NcclId& id) override;
  comm::NcclResult init(comm::NcclHandle& handle, int ranks, const comm::NcclId& id,
                        int rank) override;
  comm::NcclResult state(comm::NcclHandle handle) override;
  comm::NcclResult all_reduce(comm::NcclHandle handle, const void* in, void* out, std::size_t count,
                              comm::DeviceType type, comm::ReduceOp op,
                              comm::DeviceStream stream) override;
  comm::NcclResult reduce_scatter(comm::NcclHandle handle, const void* in, void* out,
                                  std::size_t count_of_rank, comm::DeviceType type,
                                  comm::ReduceOp op, comm::DeviceStream stream) override;
  comm::NcclResult all_gather(comm::NcclHandle handle, const void* in, void* out,
                              std::size_t count_of_rank, comm::DeviceType type,
                              comm::DeviceStream stream) override;
  comm::NcclResult broadcast(comm::NcclHandle handle, void* values, std::size_t count,
                             comm::DeviceType type, int root, comm::DeviceStream stream) override;
  comm::NcclResult send(comm::NcclHandle handle, const void* values, std::size_t count,
                        comm::DeviceType type, int to, comm::DeviceStream stream) override;
  comm::NcclResult receive(comm::NcclHandle handle, void* values, std::size_t count,
                           comm::DeviceType type, int from, comm::DeviceStream stream) override;
  comm::NcclResult group_start() override;
  comm::NcclResult group_end() override;
  comm::NcclResult finalize(comm::NcclHandle handle) override;
  comm::NcclResult destroy(comm::NcclHandle handle) override;
  comm::NcclResult abort(comm::NcclHandle handle) override;

 private:
  struct Clique;
  struct Handle;
  struct Meeting;
  using Combine = std::function<void(Meeting&)>;
  /// One operation in which all ranks of a clique meet; the last one computes for all.
  comm::NcclResult meet(Handle& handle, const void* in, void* out, comm::DeviceStream stream,
                        Combine combine);
  comm::NcclResult called(Handle& handle);
  const NcclFaults& faults_of(int rank);
  /// Sleeps until `ready`, an abort of `handle` or let_go; false for those.
  bool await(std::unique_lock<std::mutex>& lock, const Handle& handle,
             const std::function<bool()>& ready);

  std::map<int, NcclFaults> faults_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::array<std::byte, 128>, std::shared_ptr<Clique>> cliques_;
  std::vector<std::shared_ptr<Handle>> handles_;
  std::uint64_t ids_ = 0;
  std::atomic<int> aborted_{0}, destroyed_{0};
  bool let_go_ = false;
};

}  // namespace lockstep::tests
