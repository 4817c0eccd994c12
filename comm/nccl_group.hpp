#pragma once
// One rank's end of a group of ranks that move memory between their devices through NCCL. Control
// stays with an ordinary communicator (MPI between processes), which also carries failures; no
// device memory is ever given to it. Operations are enqueued on a stream of the group's own and
// return at once; events order them with the stream that computes. Whoever waits, waits with the
// deadline of the control group, and hears of failures elsewhere.
//
// Errors and deadlines are those of Communicator: what throws here has failed the control group.
// The end of a group that has failed never waits for NCCL: an abort that does not return is left
// behind on its thread, and the process ends without it.
// One object a rank, one thread. "Collective" means all ranks, in the same order.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "comm/communicator.hpp"
#include "comm/device_stopwatch.hpp"
#include "comm/nccl_api.hpp"

namespace lockstep::comm {

struct DeviceSend {
  int rank;
  const void* values;
  std::size_t count;
};

struct DeviceReceive {
  int rank;
  void* values;
  std::size_t count;
};

class NcclGroup {
 public:
  /// The ranks of `control`, each with its current device. The library must be of the version that
  /// this was built with, up to the last number, and the same on all ranks. `nccl` outlives the
  /// process's last group, the others outlive this. Throws EnvironmentError where versions differ.
  /// Collective.
  NcclGroup(std::shared_ptr<NcclApi> nccl, DeviceApi& device, Communicator& control);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  int rank() const { return control_.rank(); }
  int size() const { return control_.size(); }

  // Enqueued; memory is the device's and stays valid until the operation is over. In place where
  // NCCL allows it: `in` equals `out`, or for gathers and scatters the own place in the larger.
  /// Sums on all ranks have the same bits, which depend on the number of ranks. Collective.
  void all_reduce(const void* in, void* out, std::size_t count, DeviceType type, ReduceOp op,
                  std::string_view what);
  /// `in`: size() * `count_of_rank` elements; `out`: the own part of the result. Collective.
  void reduce_scatter(const void* in, void* out, std::size_t count_of_rank, DeviceType type,
                      ReduceOp op, std::string_view what);
  /// `out`: size() * `count_of_rank` elements in rank order. Collective.
  void all_gather(const void* in, void* out, std::size_t count_of_rank, DeviceType type,
                  std::string_view what);
  void broadcast(void* values, std::size_t count, DeviceType type, int root, std::string_view what);
  /// All together, as Communicator::exchange. Counts of a pair must be equal: NCCL does not check.
  /// With one to each rank it is an all-to-all.
  void exchange(std::span<const DeviceSend> sends, std::span<const DeviceReceive> receives,
                DeviceType type, std::string_view what);

  /// What is enqueued from now on comes after all that is in `compute` now.
  void begin_after(DeviceStream compute);
  /// What comes into `compute` from now on comes after all that was enqueued.
  void finish_before(DeviceStream compute);
  /// Returns when all that was enqueued is over. Throws TimeoutError, naming the last operation.
  void wait(std::string_view what);
  /// Returns when `event` is done, with the group's deadline and failures.
  void wait_for(DeviceEvent event, std::string_view what);
  /// Returns after every rank has called and all that was enqueued is over. Collective.
  void barrier(std::string_view what);
  /// Throws when the group or any of its ranks has failed. For those that wait elsewhere.
  void check();

  struct Times {
    double moving = 0;   ///< seconds in which operations ran, waits for other ranks included
    double exposed = 0;  ///< of them, how long the computing stream had nothing else to do
  };
  /// Of what was enqueued since the last call, when all of it is over.
  Times take_times() { return {.moving = moving_.take(), .exposed = exposed_.take()}; }

  /// As Communicator::split, on `control`, which is the control group's part that the ranks of the
  /// new group share. Collective over `control`.
  std::unique_ptr<NcclGroup> split(Communicator& control) const;
  DeviceStream stream() const { return stream_; }
  /// Whether something has failed: its kernels may hang, and with them whatever waits for the
  /// device, as the release of memory does.
  bool has_failed() const { return failed_ || control_.failure().has_value(); }

 private:
  template <class Call>
  void enqueue(const char* name, std::string_view what, Call&& call);
  /// Until NCCL is done with what was called. Throws CommError when it failed.
  void settle(NcclResult result, const std::string& operation);
  /// Calls `done` until it says so. Throws at the deadline and when any rank has failed.
  template <class Done>
  void wait_until(Done&& done, const std::string& operation);
  template <class Body>
  void guarded(Body&& body);
  void look();
  void end() noexcept;

  std::shared_ptr<NcclApi> nccl_;
  DeviceApi& device_;
  Communicator& control_;
  NcclHandle handle_ = nullptr;
  DeviceStream stream_ = nullptr;
  DeviceEvent event_ = nullptr;
  std::int64_t operations_ = 0;
  std::string last_;  // operation that was enqueued
  bool failed_ = false;
  DeviceStopwatch moving_{device_}, exposed_{device_};
};

}  // namespace lockstep::comm
