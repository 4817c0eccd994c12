#include "comm/nccl_library.hpp"

#include <nccl.h>

#include <cstring>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"
#include "comm/loaded_libraries.hpp"

namespace lockstep::comm {
namespace {

ncclComm_t comm_of(NcclHandle handle) { return static_cast<ncclComm_t>(handle); }
cudaStream_t stream_of(DeviceStream stream) { return static_cast<cudaStream_t>(stream); }

ncclDataType_t type_of(DeviceType type) {
  switch (type) {
    case DeviceType::kByte: return ncclUint8;
    case DeviceType::kBFloat16: return ncclBfloat16;
    case DeviceType::kFloat32: return ncclFloat32;
    case DeviceType::kFloat64: return ncclFloat64;
    case DeviceType::kInt64: return ncclInt64;
  }
  return ncclUint8;
}

ncclRedOp_t op_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum: return ncclSum;
    case ReduceOp::kMin: return ncclMin;
    case ReduceOp::kMax: return ncclMax;
  }
  return ncclSum;
}

NcclResult result_of(ncclResult_t result, NcclHandle handle = nullptr) {
  if (result == ncclSuccess) return {};
  if (result == ncclInProgress) return {NcclResult::State::kInProgress};
  std::string problem = ncclGetErrorString(result);
  const char* more = ncclGetLastError(comm_of(handle));
  if (more != nullptr && *more != '\0') problem += ": " + std::string(more);
  return {NcclResult::State::kFailed, problem};
}

class NcclLibrary final : public NcclApi {
 public:
  int version() override {
    int version = 0;
    ncclGetVersion(&version);
    return version;
  }

  NcclResult make_id(NcclId& id) override {
    static_assert(sizeof(ncclUniqueId) == sizeof id.bytes);
    ncclUniqueId made;
    const auto result = ncclGetUniqueId(&made);
    std::memcpy(id.bytes.data(), &made, sizeof made);
    return result_of(result);
  }

  NcclResult init(NcclHandle& handle, int ranks, const NcclId& id, int rank) override {
    ncclUniqueId made;
    std::memcpy(&made, id.bytes.data(), sizeof made);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const auto result = ncclCommInitRankConfig(&comm, ranks, made, rank, &config);
    handle = comm;
    return result_of(result, handle);
  }

  NcclResult state(NcclHandle handle) override {
    ncclResult_t state = ncclSuccess;
    const auto asked = ncclCommGetAsyncError(comm_of(handle), &state);
    return result_of(asked == ncclSuccess ? state : asked, handle);
  }

  NcclResult all_reduce(NcclHandle handle, const void* in, void* out, std::size_t count,
                        DeviceType type, ReduceOp op, DeviceStream stream) override {
    return result_of(
        ncclAllReduce(in, out, count, type_of(type), op_of(op), comm_of(handle), stream_of(stream)),
        handle);
  }

  NcclResult reduce_scatter(NcclHandle handle, const void* in, void* out, std::size_t count_of_rank,
                            DeviceType type, ReduceOp op, DeviceStream stream) override {
    return result_of(ncclReduceScatter(in, out, count_of_rank, type_of(type), op_of(op),
                                       comm_of(handle), stream_of(stream)),
                     handle);
  }

  NcclResult all_gather(NcclHandle handle, const void* in, void* out, std::size_t count_of_rank,
                        DeviceType type, DeviceStream stream) override {
    return result_of(
        ncclAllGather(in, out, count_of_rank, type_of(type), comm_of(handle), stream_of(stream)),
        handle);
  }

  NcclResult broadcast(NcclHandle handle, void* values, std::size_t count, DeviceType type,
                       int root, DeviceStream stream) override {
    return result_of(ncclBroadcast(values, values, count, type_of(type), root, comm_of(handle),
                                   stream_of(stream)),
                     handle);
  }

  NcclResult send(NcclHandle handle, const void* values, std::size_t count, DeviceType type, int to,
                  DeviceStream stream) override {
    return result_of(ncclSend(values, count, type_of(type), to, comm_of(handle), stream_of(stream)),
                     handle);
  }

  NcclResult receive(NcclHandle handle, void* values, std::size_t count, DeviceType type, int from,
                     DeviceStream stream) override {
    return result_of(
        ncclRecv(values, count, type_of(type), from, comm_of(handle), stream_of(stream)), handle);
  }

  NcclResult group_start() override { return result_of(ncclGroupStart()); }
  NcclResult group_end() override { return result_of(ncclGroupEnd()); }

  NcclResult finalize(NcclHandle handle) override {
    return result_of(ncclCommFinalize(comm_of(handle)), handle);
  }
  NcclResult destroy(NcclHandle handle) override {
    return result_of(ncclCommDestroy(comm_of(handle)));
  }
  NcclResult abort(NcclHandle handle) override { return result_of(ncclCommAbort(comm_of(handle))); }
};

}  // namespace

std::shared_ptr<NcclApi> nccl_library() {
  const auto loaded = own_mapped_files("libnccl.so");
  if (loaded.size() > 1) {
    throw base::EnvironmentError("this process has two NCCLs (" + base::quote(loaded[0]) + " and " +
                                 base::quote(loaded[1]) +
                                 "); unset LD_LIBRARY_PATH and LD_PRELOAD where they name one");
  }
  auto library = std::make_shared<NcclLibrary>();
  if (const auto version = library->version(); version != NCCL_VERSION_CODE) {
    throw base::EnvironmentError(
        "NCCL " + std::to_string(version) + " is loaded and Lockstep was built with " +
        std::to_string(NCCL_VERSION_CODE) + " (" +
        base::quote(loaded.empty() ? std::string("no file") : loaded[0]) +
        "); unset LD_LIBRARY_PATH and LD_PRELOAD where they name another one");
  }
  return library;
}

}  // namespace lockstep::comm
