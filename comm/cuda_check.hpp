#pragma once
// The one way of calling the CUDA runtime. Inside the GPU module only.

#include <cuda_runtime_api.h>

namespace lockstep::comm {

/// Throws DeviceError with the call and the runtime's words unless `result` is success.
void check_cuda(cudaError_t result, const char* call);

}  // namespace lockstep::comm
