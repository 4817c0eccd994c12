#pragma once
// A device of fakes for one rank (a thread): tensors and "device memory" are the CPU's, streams are
// those of FakeDevice, and the kernels are their references.

#include <functional>
#include <memory>
#include <utility>

#include "base/error.hpp"
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
              const float* gradients, float* const* states, trainer::ShortCopy shorts,
              std::int64_t count, comm::DeviceStream stream) override {
    const auto kinds = numbers.rule == trainer::UpdateRule::kAdam  ? 2
                       : numbers.rule == trainer::UpdateRule::kSgd ? 0
                                                                   : 1;
    FakeDevice::launch(stream, [=, own = std::vector<float*>(states, states + kinds)] {
      if (*scale == 0) return;
      trainer::update(numbers, *scale, parameters, gradients, own.data(), count);
      trainer::reference_shorten(parameters, shorts, count);
    });
  }
  void shorten(const float* values, trainer::ShortCopy shorts, std::int64_t count,
               comm::DeviceStream stream) override {
    FakeDevice::launch(stream, [=] { trainer::reference_shorten(values, shorts, count); });
  }
  void add_scaled(float* values, const float* changes, float factor, const float* scale,
                  std::int64_t count, comm::DeviceStream stream) override {
    FakeDevice::launch(stream, [=] {
      if (*scale == 0) return;
      for (std::int64_t i = 0; i < count; ++i) values[i] += changes[i] * factor;
    });
  }
};

/// Captures what is to be done, and does it at each launch.
class FakeGraphs final : public trainer::DeviceGraphs {
 public:
  std::unique_ptr<trainer::DeviceGraph> capture(const std::function<void()>& work) override {
    if (refuses) throw base::DeviceError("operation not permitted when stream is capturing");
    ++captured;
    return std::make_unique<Graph>(work, launched);
  }

  bool refuses = false;
  int captured = 0, launched = 0;

 private:
  class Graph final : public trainer::DeviceGraph {
   public:
    Graph(std::function<void()> work, int& launched)
        : work_(std::move(work)), launched_(launched) {}
    void launch() override {
      ++launched_;
      work_();
    }

   private:
    std::function<void()> work_;
    int& launched_;
  };
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
