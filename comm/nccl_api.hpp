#pragma once
// The few functions of NCCL that Lockstep calls, as a seam: the library on a GPU, a fake in tests.
// The library's own types stay behind it. Used by NcclGroup. A handle belongs to one thread at a
// time.

#include <array>
#include <cstddef>
#include <string>

#include "comm/communicator.hpp"
#include "comm/device_api.hpp"

namespace lockstep::comm {

/// What the ranks of a communicator know each other by (ncclUniqueId).
struct NcclId {
  std::array<std::byte, 128> bytes{};
};
using NcclHandle = void*;  ///< ncclComm_t

enum class DeviceType { kByte, kBFloat16, kFloat32, kFloat64, kInt64 };
std::size_t bytes_of(DeviceType type);

struct NcclResult {
  enum class State { kDone, kInProgress, kFailed } state = State::kDone;
  std::string problem{};  ///< the library's words for it, when it failed
};

/// Calls return at once (the communicators are non-blocking): what is in progress is asked for with
/// `state`, and nothing else may be called on the handle before it is done.
class NcclApi {
 public:
  virtual ~NcclApi() = default;

  /// As NCCL_VERSION_CODE: 22809 is 2.28.9.
  virtual int version() = 0;
  virtual NcclResult make_id(NcclId& id) = 0;
  /// All ranks with the same id.
  virtual NcclResult init(NcclHandle& handle, int ranks, const NcclId& id, int rank) = 0;
  /// Of the last call and of all that was enqueued (ncclCommGetAsyncError).
  virtual NcclResult state(NcclHandle handle) = 0;

  // Enqueued on `stream`; counts are of elements. As the NCCL functions of these names.
  virtual NcclResult all_reduce(NcclHandle handle, const void* in, void* out, std::size_t count,
                                DeviceType type, ReduceOp op, DeviceStream stream) = 0;
  virtual NcclResult reduce_scatter(NcclHandle handle, const void* in, void* out,
                                    std::size_t count_of_rank, DeviceType type, ReduceOp op,
                                    DeviceStream stream) = 0;
  virtual NcclResult all_gather(NcclHandle handle, const void* in, void* out,
                                std::size_t count_of_rank, DeviceType type,
                                DeviceStream stream) = 0;
  virtual NcclResult broadcast(NcclHandle handle, void* values, std::size_t count, DeviceType type,
                               int root, DeviceStream stream) = 0;
  virtual NcclResult send(NcclHandle handle, const void* values, std::size_t count, DeviceType type,
                          int to, DeviceStream stream) = 0;
  virtual NcclResult receive(NcclHandle handle, void* values, std::size_t count, DeviceType type,
                             int from, DeviceStream stream) = 0;
  virtual NcclResult group_start() = 0;
  virtual NcclResult group_end() = 0;

  /// Ends what is well: when done, `destroy` does not wait for anybody.
  virtual NcclResult finalize(NcclHandle handle) = 0;
  virtual NcclResult destroy(NcclHandle handle) = 0;
  /// Ends what is not. May never return.
  virtual NcclResult abort(NcclHandle handle) = 0;
};

}  // namespace lockstep::comm
