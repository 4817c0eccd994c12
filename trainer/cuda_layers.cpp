#include "trainer/cuda_layers.hpp"

#include "base/error.hpp"
#include "comm/cuda_check.hpp"
#include "trainer/dropout_mask.hpp"
#include "trainer/layer_kernels.h"

namespace lockstep::trainer {
namespace {

cudaStream_t stream_of(comm::DeviceStream stream) { return static_cast<cudaStream_t>(stream); }

class CudaLayers final : public LayerKernels {
 public:
  void bias_gelu(const BiasGeluForward& pass, comm::DeviceStream stream) override {
    comm::check_cuda(launch_bias_gelu(pass, stream_of(stream)), "the kernel of bias and GELU");
  }
  void bias_gelu_backward(const BiasGeluBackward& pass, comm::DeviceStream stream) override {
    comm::check_cuda(launch_bias_gelu_backward(pass, stream_of(stream)),
                     "the backward kernels of bias and GELU");
  }
  void layer_norm(const LayerNormForward& pass, comm::DeviceStream stream) override {
    LOCKSTEP_EXPECT(pass.columns <= kMostNormColumns, "a LayerNorm of rows that lanes hold");
    comm::check_cuda(launch_layer_norm(pass, stream_of(stream)), "the kernel of LayerNorm");
  }
  void layer_norm_backward(const LayerNormBackward& pass, comm::DeviceStream stream) override {
    LOCKSTEP_EXPECT(pass.columns <= kMostNormColumns, "a LayerNorm of rows that lanes hold");
    comm::check_cuda(launch_layer_norm_backward(pass, stream_of(stream)),
                     "the backward kernels of LayerNorm");
  }
  void dropout(const DropoutPass& pass, comm::DeviceStream stream) override {
    const auto odds = dropout_odds(pass.probability);
    comm::check_cuda(launch_dropout(pass, odds.dropped_below, odds.kept, stream_of(stream)),
                     "the kernel of dropout");
  }
};

}  // namespace

std::unique_ptr<LayerKernels> cuda_layers() { return std::make_unique<CudaLayers>(); }

}  // namespace lockstep::trainer
