#pragma once
// The NCCL that this process has loaded. Only in processes that link or load it: the GPU module.

#include <memory>

#include "comm/nccl_api.hpp"

namespace lockstep::comm {

/// Throws EnvironmentError when the library is not the one that this was built with, or when the
/// process has more than one of them loaded.
std::shared_ptr<NcclApi> nccl_library();

}  // namespace lockstep::comm
