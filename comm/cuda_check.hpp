#pragma once
// The one way of calling the CUDA runtime. Inside the GPU module only.

namespace lockstep::comm {

/// Throws DeviceError with the call and the runtime's words unless `result`, a cudaError_t, is
/// success.
void check_cuda(int result, const char* call);

}  // namespace lockstep::comm
