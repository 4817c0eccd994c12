#pragma once
// A device of fakes for one rank (a thread): tensors and "device memory" are the CPU's, streams are
// those of FakeDevice, and the kernels are their references.

#include <memory>

#include "tests/comm/fake_gpu.hpp"
#include "trainer/device_context.hpp"
#include "trainer/device_reference.hpp"
#include "trainer/layer_reference.hpp"
#include "trainer/optimizer.hpp"

namespace lockstep::tests {

class ReferenceKernels final : public trainer::DeviceKernels {
 public:
  void squares(const float* values, std::int64_t length, std::int64_t blocks, double* out,
               comm::DeviceStream stream) override {
    FakeDevice::launch(stream, [=] {
      for (std::int64_t block = 0; block < blocks; ++block) {
        out[block] = trainer::reference_squares(values + block * length, length);
      }
    });
  }
  void scale(const double* squares, std::int64_t blocks, trainer::GradientScale how, float* scale,
             comm::DeviceStream stream) override {
    FakeDevice::launch(stream, [=] { *scale = trainer::reference_scale(squares, blocks, how); });
  }
  void update(const trainer::UpdateNumbers& numbers, const float* scale, float* parameters,
              const float* gradients, float* const* states, std::int64_t count,
              comm::DeviceStream stream) override {
    const auto kinds = numbers.rule == trainer::UpdateRule::kAdam  ? 2
                       : numbers.rule == trainer::UpdateRule::kSgd ? 0
                                                                   : 1;
    FakeDevice::launch(stream, [=, own = std::vector<float*>(states, states + kinds)] {
      trainer::update(numbers, *scale, parameters, gradients, own.data(), count);
    });
  }
  void add_scaled(float* values, const float* changes, float scale, std::int64_t count,
                  comm::DeviceStream stream) override {
    FakeDevice::launch(stream, [=] {
      for (std::int64_t i = 0; i < count; ++i) values[i] += changes[i] * scale;
    });
  }
};

/// Not in the stream, which is another thread's: the CPU's operations on tensors, between which
/// these stand, run at once.
class ReferenceLayers final : public trainer::LayerKernels {
 public:
  void bias_gelu(const trainer::BiasGeluForward& pass, comm::DeviceStream) override {
    trainer::reference_bias_gelu(pass);
  }
  void bias_gelu_backward(const trainer::BiasGeluBackward& pass, comm::DeviceStream) override {
    trainer::reference_bias_gelu_backward(pass);
  }
  void layer_norm(const trainer::LayerNormForward& pass, comm::DeviceStream) override {
    trainer::reference_layer_norm(pass);
  }
  void layer_norm_backward(const trainer::LayerNormBackward& pass, comm::DeviceStream) override {
    trainer::reference_layer_norm_backward(pass);
  }
  void dropout(const trainer::DropoutPass& pass, comm::DeviceStream) override {
    trainer::reference_dropout(pass);
  }
};

/// The calling thread's device, as that of rank `rank`.
class FakeContext {
 public:
  FakeContext(std::shared_ptr<FakeNccl> nccl, int rank) {
    FakeNccl::rank_of_thread = rank;
    auto api = std::make_unique<FakeDevice>();
    device_ = api.get();
    context_ = {.where = at::kCPU,
                .api = std::move(api),
                .nccl = std::move(nccl),
                .fold = std::make_unique<ReferenceFold>(),
                .kernels = std::make_unique<ReferenceKernels>(),
                .layers = std::make_unique<ReferenceLayers>(),
                .compute = device_->make_stream()};
  }
  ~FakeContext() { device_->end_stream(context_.compute); }
  FakeContext(const FakeContext&) = delete;
  FakeContext& operator=(const FakeContext&) = delete;

  trainer::DeviceContext& context() { return context_; }
  FakeDevice& device() { return *device_; }

 private:
  FakeDevice* device_ = nullptr;
  trainer::DeviceContext context_;
};

}  // namespace lockstep::tests
