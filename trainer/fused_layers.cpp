#include "trainer/fused_layers.hpp"

#include <ATen/autocast_mode.h>

#include "trainer/dense_layer.hpp"
#include "trainer/device_forward.hpp"

namespace lockstep::trainer {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Where the kernels of a forward pass and those of its backward pass go.
struct Launcher {
  LayerKernels* layers = nullptr;
  comm::DeviceStream stream = nullptr;
};

/// What a backward pass needs besides tensors.
struct Kept final : torch::CustomClassHolder {
  Launcher launcher;
  DropoutPass dropout;
};

void keep(AutogradContext* context, const Launcher& launcher, const DropoutPass& dropout = {}) {
  auto kept = c10::make_intrusive<Kept>();
  kept->launcher = launcher;
  kept->dropout = dropout;
  context->saved_data["kept"] =
      c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(std::move(kept)));
}

c10::intrusive_ptr<Kept> kept_of(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<Kept>(context->saved_data["kept"].toCapsule());
}

Launcher launcher_of(const ForwardContext& context) {
  return {&context.device->layers, context.device->stream};
}

bool has_kernels(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
}

ElementType element_type(at::ScalarType type) {
  LOCKSTEP_EXPECT(has_kernels(type), "a type that kernels of layers know");
  return type == at::kFloat      ? ElementType::kFloat32
         : type == at::kBFloat16 ? ElementType::kBFloat16
                                 : ElementType::kFloat16;
}

const float* floats_of(const torch::Tensor& tensor) { return tensor.const_data_ptr<float>(); }

class BiasGeluFunction final : public torch::autograd::Function<BiasGeluFunction> {
 public:
  /// inputs [..., columns], bias [columns] f32.
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& inputs,
                               const torch::Tensor& bias, const Launcher& launcher) {
    const auto dense_inputs = inputs.contiguous(), dense_bias = bias.contiguous();
    const auto columns = bias.numel();
    auto outputs = at::empty_like(dense_inputs);
    launcher.layers->bias_gelu({.type = element_type(inputs.scalar_type()),
                                .rows = inputs.numel() / columns,
                                .columns = columns,
                                .inputs = dense_inputs.const_data_ptr(),
                                .bias = floats_of(dense_bias),
                                .outputs = outputs.mutable_data_ptr()},
                               launcher.stream);
    context->save_for_backward({dense_inputs, dense_bias});
    keep(context, launcher);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto &inputs = saved[0], &bias = saved[1];
    const auto columns = bias.numel(), rows = inputs.numel() / columns;
    const auto gradient = gradients[0].to(inputs.scalar_type()).contiguous();
    auto by_inputs = at::empty_like(inputs), by_bias = at::empty_like(bias);
    auto partials = at::empty({row_chunks(rows, kBiasGeluChunks), columns}, bias.options());
    const auto kept = kept_of(context);
    kept->launcher.layers->bias_gelu_backward({.type = element_type(inputs.scalar_type()),
                                               .rows = rows,
                                               .columns = columns,
                                               .inputs = inputs.const_data_ptr(),
                                               .bias = floats_of(bias),
                                               .gradient = gradient.const_data_ptr(),
                                               .by_inputs = by_inputs.mutable_data_ptr(),
                                               .by_bias = by_bias.mutable_data_ptr<float>(),
                                               .partials = partials.mutable_data_ptr<float>()},
                                              kept->launcher.stream);
    return {by_inputs, by_bias, {}};
  }
};

class LayerNormFunction final : public torch::autograd::Function<LayerNormFunction> {
 public:
  /// residual [..., columns] f32; branch of its shape and of `type`, or none; weight and bias
  /// [columns] f32. Gives normed of `type`, and with a branch sum f32 behind it.
  static variable_list forward(AutogradContext* context, const torch::Tensor& residual,
                               const std::optional<torch::Tensor>& branch,
                               const torch::Tensor& weight, const torch::Tensor& bias, double eps,
                               at::ScalarType type, const Launcher& launcher) {
    const bool adds = branch.has_value();
    const auto dense_residual = residual.contiguous(), dense_weight = weight.contiguous(),
               dense_bias = bias.contiguous();
    const auto dense_branch = adds ? branch->contiguous() : torch::Tensor();
    const auto columns = weight.numel(), rows = residual.numel() / columns;
    auto sum = adds ? at::empty_like(dense_residual) : dense_residual;
    auto normed = at::empty(residual.sizes(), residual.options().dtype(type));
    auto mean = at::empty({rows}, residual.options()), rstd = at::empty_like(mean);
    launcher.layers->layer_norm({.type = element_type(type),
                                 .rows = rows,
                                 .columns = columns,
                                 .eps = static_cast<float>(eps),
                                 .branch = adds ? dense_branch.const_data_ptr() : nullptr,
                                 .residual = floats_of(dense_residual),
                                 .weight = floats_of(dense_weight),
                                 .bias = floats_of(dense_bias),
                                 .sum = adds ? sum.mutable_data_ptr<float>() : nullptr,
                                 .normed = normed.mutable_data_ptr(),
                                 .mean = mean.mutable_data_ptr<float>(),
                                 .rstd = rstd.mutable_data_ptr<float>()},
                                launcher.stream);
    context->save_for_backward({sum, mean, rstd, dense_weight});
    context->saved_data["type"] = type;
    context->saved_data["adds"] = adds;
    context->set_materialize_grads(false);
    keep(context, launcher);
    if (adds) return {normed, sum};
    return {normed};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto &sum = saved[0], &weight = saved[3];
    const auto type = context->saved_data["type"].toScalarType();
    const bool adds = context->saved_data["adds"].toBool();
    const auto columns = weight.numel(), rows = sum.numel() / columns;
    variable_list results(7);
    const auto by_sum =
        adds && gradients[1].defined() ? gradients[1].contiguous() : torch::Tensor();
    if (!gradients[0].defined()) {  // only the sum was used
      results[0] = by_sum;
      if (by_sum.defined()) results[1] = by_sum.to(type);
      return results;
    }
    const auto by_normed = gradients[0].to(type).contiguous();
    auto by_residual = at::empty_like(sum);
    // Where the branch is f32, its gradient is the residual's.
    const bool rounds = adds && type != at::kFloat;
    auto by_branch = rounds ? at::empty(sum.sizes(), sum.options().dtype(type)) : torch::Tensor();
    auto by_parameters = at::empty({2, columns}, weight.options());
    auto partials = at::empty({row_chunks(rows, kLayerNormChunks), 2, columns}, weight.options());
    const auto kept = kept_of(context);
    kept->launcher.layers->layer_norm_backward(
        {.type = element_type(type),
         .rows = rows,
         .columns = columns,
         .sum = floats_of(sum),
         .mean = floats_of(saved[1]),
         .rstd = floats_of(saved[2]),
         .weight = floats_of(weight),
         .by_normed = by_normed.const_data_ptr(),
         .by_sum = by_sum.defined() ? floats_of(by_sum) : nullptr,
         .by_residual = by_residual.mutable_data_ptr<float>(),
         .by_branch = rounds ? by_branch.mutable_data_ptr() : nullptr,
         .by_parameters = by_parameters.mutable_data_ptr<float>(),
         .partials = partials.mutable_data_ptr<float>()},
        kept->launcher.stream);
    results[0] = by_residual;
    if (adds) results[1] = rounds ? by_branch : by_residual;
    results[2] = by_parameters[0];
    results[3] = by_parameters[1];
    return results;
  }
};

class DropoutFunction final : public torch::autograd::Function<DropoutFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& inputs,
                               DropoutPass pass, const Launcher& launcher) {
    keep(context, launcher, pass);
    return run(inputs, pass, launcher);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto kept = kept_of(context);
    return {run(gradients[0], kept->dropout, kept->launcher), {}, {}};
  }

 private:
  static torch::Tensor run(const torch::Tensor& inputs, DropoutPass pass,
                           const Launcher& launcher) {
    const auto dense_inputs = inputs.contiguous();
    auto outputs = at::empty_like(dense_inputs);
    pass.type = element_type(inputs.scalar_type());
    pass.count = inputs.numel();
    pass.inputs = dense_inputs.const_data_ptr();
    pass.outputs = outputs.mutable_data_ptr();
    launcher.layers->dropout(pass, launcher.stream);
    return outputs;
  }
};

/// What a matrix product would make of `tensor`.
at::ScalarType short_type(const torch::Tensor& tensor) {
  const auto device = tensor.device().type();
  if (tensor.is_floating_point() && at::autocast::is_autocast_enabled(device)) {
    return at::autocast::get_autocast_dtype(device);
  }
  return tensor.scalar_type();
}

/// A LayerNorm that the kernels compute.
bool is_fused(const torch::nn::LayerNorm& norm, at::ScalarType type) {
  const auto &weight = norm->weight, &bias = norm->bias;
  return has_kernels(type) && weight.defined() && bias.defined() && weight.dim() == 1 &&
         weight.scalar_type() == at::kFloat && bias.scalar_type() == at::kFloat &&
         weight.numel() <= kMostNormColumns;
}

/// By LibTorch. The handle is copied, since its const one has no forward function.
torch::Tensor normed_by(torch::nn::LayerNorm norm, const torch::Tensor& values) {
  return norm->forward(values);
}

variable_list run_layer_norm(const torch::Tensor& residual,
                             const std::optional<torch::Tensor>& branch,
                             const torch::nn::LayerNorm& norm, at::ScalarType type,
                             const ForwardContext& context) {
  return LayerNormFunction::apply(residual, branch, norm->weight, norm->bias, norm->options.eps(),
                                  type, launcher_of(context));
}

}  // namespace

torch::Tensor gelu_of_dense(const torch::Tensor& inputs, const torch::nn::Linear& layer,
                            const ForwardContext& context) {
  if (context.device == nullptr || !layer->bias.defined() ||
      layer->bias.scalar_type() != at::kFloat || !has_kernels(short_type(inputs))) {
    return torch::gelu(dense(inputs, layer, context), "tanh");
  }
  return BiasGeluFunction::apply(dense(inputs, layer->weight, {}, context), layer->bias,
                                 launcher_of(context));
}

NormedSum add_layer_norm(const torch::Tensor& branch, const torch::Tensor& residual,
                         const torch::nn::LayerNorm& norm, const ForwardContext& context) {
  if (context.device == nullptr || !is_fused(norm, short_type(branch)) ||
      !has_kernels(residual.scalar_type()) || branch.sizes() != residual.sizes()) {
    const auto sum = residual + branch;
    return {sum, normed_by(norm, sum)};
  }
  const auto type = short_type(branch);
  const auto results =
      run_layer_norm(residual.to(at::kFloat), std::optional(branch.to(type)), norm, type, context);
  return {results[1], results[0]};
}

NormedSum layer_norm(const torch::Tensor& residual, const torch::nn::LayerNorm& norm,
                     const ForwardContext& context) {
  if (context.device == nullptr || !is_fused(norm, short_type(residual)) ||
      !has_kernels(residual.scalar_type())) {
    return {residual, normed_by(norm, residual)};
  }
  const auto sum = residual.to(at::kFloat);
  return {sum, run_layer_norm(sum, std::nullopt, norm, short_type(residual), context)[0]};
}

torch::Tensor device_dropout(const torch::Tensor& inputs, double probability,
                             DeviceForward& device) {
  const DropoutPass pass{.probability = probability, .key = device.dropouts.take()};
  return DropoutFunction::apply(inputs, pass, Launcher{&device.layers, device.stream});
}

}  // namespace lockstep::trainer
