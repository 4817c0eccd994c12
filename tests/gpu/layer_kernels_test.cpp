// The kernels of fused layers compute what their references on the CPU do: LayerNorm and dropout
// with the same bits, GELU but for the last places of exp.

#include <algorithm>
#include <cmath>

#include "tests/gpu/gpu_test.hpp"
#include "trainer/cuda_layers.hpp"
#include "trainer/layer_reference.hpp"

namespace lockstep::trainer {
namespace {

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kBFloat16,
                                  ElementType::kFloat16};

struct Shape {
  std::int64_t rows, columns;
};

/// Values of a type, as bytes: the host's, and a copy on the device.
struct Values {
  ElementType type;
  std::vector<std::byte> host;
  std::byte* device = nullptr;

  std::int64_t count() const { return static_cast<std::int64_t>(host.size()) / bytes_of(type); }
  float* floats() { return reinterpret_cast<float*>(host.data()); }
  float* device_floats() const { return reinterpret_cast<float*>(device); }
};

class LayerKernelsTest : public tests::GpuTest {
 protected:
  void SetUp() override {
    tests::GpuTest::SetUp();
    if (!IsSkipped()) layers_ = cuda_layers();
  }
  void TearDown() override {
    for (auto* memory : allocated_) device_->release(memory);
    tests::GpuTest::TearDown();
  }

  /// Drawn from a wave; `shift` bytes off an alignment of 16.
  Values drawn(ElementType type, std::int64_t count, float phase, float size = 1,
               std::int64_t shift = 0) {
    Values values = zeros(type, count, shift);
    for (std::int64_t i = 0; i < count; ++i) {
      set_element(type, values.host.data(), i,
                  size * std::sin(static_cast<float>(i) * 0.37F + phase));
    }
    comm::check_cuda(
        cudaMemcpy(values.device, values.host.data(), values.host.size(), cudaMemcpyHostToDevice),
        "cudaMemcpy");
    comm::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return values;
  }
  Values zeros(ElementType type, std::int64_t count, std::int64_t shift = 0) {
    Values values{type, std::vector<std::byte>(static_cast<std::size_t>(count * bytes_of(type)))};
    values.device = static_cast<std::byte*>(device_->allocate(values.host.size() + 16)) + shift;
    allocated_.push_back(values.device - shift);
    return values;
  }

  /// After all that is in any stream.
  std::vector<std::byte> found(const Values& values) {
    comm::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    std::vector<std::byte> bytes(values.host.size());
    comm::check_cuda(cudaMemcpy(bytes.data(), values.device, bytes.size(), cudaMemcpyDeviceToHost),
                     "cudaMemcpy");
    return bytes;
  }
  void expect_bits(const Values& values, const char* name) {
    EXPECT_TRUE(found(values) == values.host) << name;
  }
  /// Within `steps` of the distances between the type's numbers, relative above 1.
  void expect_close(const Values& values, double steps) {
    const double distance = values.type == ElementType::kFloat32    ? 1.2e-7
                            : values.type == ElementType::kBFloat16 ? 7.8e-3
                                                                    : 9.8e-4;
    const auto bytes = found(values);
    double worst = 0;
    for (std::int64_t i = 0; i < values.count(); ++i) {
      const double right = element(values.type, values.host.data(), i);
      const double other = element(values.type, bytes.data(), i);
      worst = std::max(worst, std::abs(right - other) / std::max(1.0, std::abs(right)));
    }
    EXPECT_LE(worst, steps * distance);
  }

  std::unique_ptr<LayerKernels> layers_;

 private:
  std::vector<std::byte*> allocated_;
};

TEST_F(LayerKernelsTest, AddBiasAndGeluAsTheReferenceDoes) {
  for (const auto type : kTypes) {
    // Whole packs, rows that are not, one chunk's rows and several, and a shifted start.
    for (const auto& [shape, shift] : {std::pair(Shape{7, 512}, 0), std::pair(Shape{600, 3072}, 0),
                                       std::pair(Shape{33, 70}, 0), std::pair(Shape{9, 256}, 4)}) {
      const auto count = shape.rows * shape.columns;
      auto inputs = drawn(type, count, 0.1F, 4, shift), gradient = drawn(type, count, 0.7F);
      auto bias = drawn(ElementType::kFloat32, shape.columns, 0.3F);
      auto outputs = zeros(type, count), by_inputs = zeros(type, count);
      auto by_bias = zeros(ElementType::kFloat32, shape.columns);
      auto partials =
          zeros(ElementType::kFloat32, row_chunks(shape.rows, kBiasGeluChunks) * shape.columns);
      BiasGeluForward forward{type,          shape.rows,           shape.columns,
                              inputs.device, bias.device_floats(), outputs.device};
      BiasGeluBackward backward{type,
                                shape.rows,
                                shape.columns,
                                inputs.device,
                                bias.device_floats(),
                                gradient.device,
                                by_inputs.device,
                                by_bias.device_floats(),
                                partials.device_floats()};
      layers_->bias_gelu(forward, stream_);
      layers_->bias_gelu_backward(backward, stream_);
      reference_bias_gelu({type, shape.rows, shape.columns, inputs.host.data(), bias.floats(),
                           outputs.host.data()});
      reference_bias_gelu_backward({type, shape.rows, shape.columns, inputs.host.data(),
                                    bias.floats(), gradient.host.data(), by_inputs.host.data(),
                                    by_bias.floats(), partials.floats()});
      const double steps = type == ElementType::kFloat32 ? 8 : 1;
      expect_close(outputs, steps);
      expect_close(by_inputs, steps);
      expect_close(by_bias, 1000);  // of as many terms
      const auto once = found(by_bias);
      layers_->bias_gelu_backward(backward, stream_);
      EXPECT_TRUE(found(by_bias) == once);
    }
  }
}

TEST_F(LayerKernelsTest, NormSumsWithTheBitsOfTheReference) {
  for (const auto type : kTypes) {
    for (const auto& [shape, shift] :
         {std::pair(Shape{5, 32}, 0), std::pair(Shape{300, 768}, 0), std::pair(Shape{2050, 96}, 0),
          std::pair(Shape{11, 1030}, 0), std::pair(Shape{6, 1600}, 4),
          std::pair(Shape{3, kMostNormColumns}, 0)}) {
      const auto count = shape.rows * shape.columns;
      auto branch = drawn(type, count, 0.1F),
           residual = drawn(ElementType::kFloat32, count, 0.2F, 3);
      auto weight = drawn(ElementType::kFloat32, shape.columns, 0.3F, 1, shift);
      auto bias = drawn(ElementType::kFloat32, shape.columns, 0.4F);
      auto by_normed = drawn(type, count, 0.5F), by_sum = drawn(ElementType::kFloat32, count, 0.6F);
      auto sum = zeros(ElementType::kFloat32, count), normed = zeros(type, count);
      auto mean = zeros(ElementType::kFloat32, shape.rows),
           rstd = zeros(ElementType::kFloat32, shape.rows);
      auto by_residual = zeros(ElementType::kFloat32, count), by_branch = zeros(type, count);
      auto by_parameters = zeros(ElementType::kFloat32, 2 * shape.columns);
      auto partials = zeros(ElementType::kFloat32,
                            row_chunks(shape.rows, kLayerNormChunks) * 2 * shape.columns);
      for (const bool whole : {true, false}) {
        LayerNormForward forward{type,
                                 shape.rows,
                                 shape.columns,
                                 1e-5F,
                                 whole ? branch.device : nullptr,
                                 residual.device_floats(),
                                 weight.device_floats(),
                                 bias.device_floats(),
                                 whole ? sum.device_floats() : nullptr,
                                 normed.device,
                                 mean.device_floats(),
                                 rstd.device_floats()};
        LayerNormBackward backward{type,
                                   shape.rows,
                                   shape.columns,
                                   whole ? sum.device_floats() : residual.device_floats(),
                                   mean.device_floats(),
                                   rstd.device_floats(),
                                   weight.device_floats(),
                                   by_normed.device,
                                   whole ? by_sum.device_floats() : nullptr,
                                   by_residual.device_floats(),
                                   whole ? by_branch.device : nullptr,
                                   by_parameters.device_floats(),
                                   partials.device_floats()};
        layers_->layer_norm(forward, stream_);
        layers_->layer_norm_backward(backward, stream_);
        forward.branch = whole ? branch.host.data() : nullptr;
        forward.residual = residual.floats();
        forward.weight = backward.weight = weight.floats();
        forward.bias = bias.floats();
        forward.sum = whole ? sum.floats() : nullptr;
        forward.normed = normed.host.data();
        forward.mean = mean.floats();
        forward.rstd = rstd.floats();
        backward.sum = whole ? sum.floats() : residual.floats();
        backward.mean = mean.floats();
        backward.rstd = rstd.floats();
        backward.by_normed = by_normed.host.data();
        backward.by_sum = whole ? by_sum.floats() : nullptr;
        backward.by_residual = by_residual.floats();
        backward.by_branch = whole ? by_branch.host.data() : nullptr;
        backward.by_parameters = by_parameters.floats();
        backward.partials = partials.floats();
        reference_layer_norm(forward);
        reference_layer_norm_backward(backward);
        expect_bits(sum, "sum");
        expect_bits(normed, "normed");
        expect_bits(mean, "mean");
        expect_bits(rstd, "rstd");
        expect_bits(by_residual, "by_residual");
        expect_bits(by_branch, "by_branch");
        expect_bits(by_parameters, "by_parameters");
      }
    }
  }
}

TEST_F(LayerKernelsTest, DropWithTheBitsOfTheReference) {
  const std::vector<std::uint64_t> keys{0x0123456789ABCDEF, 3};
  auto* on_gpu = static_cast<std::uint64_t*>(device_->allocate(2 * sizeof(std::uint64_t)));
  comm::check_cuda(
      cudaMemcpy(on_gpu, keys.data(), 2 * sizeof(std::uint64_t), cudaMemcpyHostToDevice),
      "cudaMemcpy");
  for (const auto type : kTypes) {
    for (const auto& [count, shift] :
         {std::pair(1, 0), std::pair(64, 0), std::pair(100'003, 0), std::pair(5000, 4)}) {
      for (const std::size_t key : {0, 1}) {
        auto inputs = drawn(type, count, 0.1F, 1, shift), outputs = zeros(type, count);
        layers_->dropout({.type = type,
                          .count = count,
                          .probability = 0.1,
                          .key = on_gpu + key,
                          .inputs = inputs.device,
                          .outputs = outputs.device},
                         stream_);
        reference_dropout({.type = type,
                           .count = count,
                           .probability = 0.1,
                           .key = &keys[key],
                           .inputs = inputs.host.data(),
                           .outputs = outputs.host.data()});
        expect_bits(outputs, "outputs");
      }
    }
  }
  device_->release(on_gpu);
}

TEST_F(LayerKernelsTest, DropByTheKeyThatIsThereWhenAGraphIsReplayed) {
  constexpr std::int64_t kCount = 1000;
  std::uint64_t key = 5;
  auto* on_gpu = static_cast<std::uint64_t*>(device_->allocate(sizeof key));
  auto inputs = drawn(ElementType::kBFloat16, kCount, 0.1F), outputs = zeros(inputs.type, kCount);
  const auto stream = static_cast<cudaStream_t>(stream_);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  comm::check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture");
  DropoutPass pass{inputs.type, kCount, 0.5, on_gpu, inputs.device, outputs.device};
  layers_->dropout(pass, stream_);
  comm::check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  comm::check_cuda(cudaGraphInstantiate(&replay, graph, 0), "cudaGraphInstantiate");
  pass = {inputs.type, kCount, 0.5, &key, inputs.host.data(), outputs.host.data()};
  for (; key < 8; ++key) {
    comm::check_cuda(cudaMemcpy(on_gpu, &key, sizeof key, cudaMemcpyHostToDevice), "cudaMemcpy");
    comm::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    comm::check_cuda(cudaGraphLaunch(replay, stream), "cudaGraphLaunch");
    reference_dropout(pass);
    expect_bits(outputs, "outputs");
  }
  comm::check_cuda(cudaGraphExecDestroy(replay), "cudaGraphExecDestroy");
  comm::check_cuda(cudaGraphDestroy(graph), "cudaGraphDestroy");
  device_->release(on_gpu);
}

}  // namespace
}  // namespace lockstep::trainer
