#include "trainer/dense_layer.hpp"

#include "trainer/dense_kernels.hpp"

namespace lockstep::trainer {
namespace {

using torch::autograd::variable_list;

class DenseFunction final : public torch::autograd::Function<DenseFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& inputs, const torch::Tensor& weight,
                               const torch::Tensor& bias) {
    const auto rows = inputs.reshape({-1, weight.size(1)}).contiguous();
    const auto flat_weight = weight.contiguous();
    auto shape = inputs.sizes().vec();
    shape.back() = weight.size(0);
    auto outputs = at::empty(shape, inputs.options());
    dense_forward({.rows = rows.size(0),
                   .inputs_count = weight.size(1),
                   .outputs_count = weight.size(0),
                   .inputs = rows.const_data_ptr<float>(),
                   .inputs_row = weight.size(1),
                   .weights = flat_weight.const_data_ptr<float>(),
                   .bias = bias.const_data_ptr<float>(),
                   .outputs = outputs.mutable_data_ptr<float>(),
                   .outputs_row = weight.size(0)});
    context->save_for_backward({rows, flat_weight});
    context->saved_data["shape"] = inputs.sizes();
    return outputs;
  }

  static variable_list backward(torch::autograd::AutogradContext* context,
                                const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto &inputs = saved[0], &weight = saved[1];
    const auto out = weight.size(0), in = weight.size(1), rows = inputs.size(0);
    const auto gradient = gradients[0].reshape({rows, out}).contiguous();
    const auto* values = gradient.const_data_ptr<float>();
    variable_list results(3);
    if (context->needs_input_grad(0)) {
      results[0] = at::empty(context->saved_data["shape"].toIntVector(), inputs.options());
      outer_sum({.rows = rows,
                 .columns = in,
                 .steps = out,
                 .left = values,
                 .left_row = out,
                 .left_step = 1,
                 .right = weight.const_data_ptr<float>(),
                 .right_step = in,
                 .sums = results[0].mutable_data_ptr<float>(),
                 .sums_row = in});
    }
    if (context->needs_input_grad(1)) {
      results[1] = at::empty({out, in}, weight.options());
      outer_sum({.rows = out,
                 .columns = in,
                 .steps = rows,
                 .left = values,
                 .left_row = 1,
                 .left_step = out,
                 .right = inputs.const_data_ptr<float>(),
                 .right_step = in,
                 .sums = results[1].mutable_data_ptr<float>(),
                 .sums_row = in});
    }
    if (context->needs_input_grad(2)) {
      results[2] = gradient.sum(0);
    }
    return results;
  }
};

}  // namespace

torch::Tensor dense(const torch::Tensor& inputs, const torch::Tensor& weight,
                    const torch::Tensor& bias, const ForwardContext& context) {
  if (!context.dense_kernels) return at::linear(inputs, weight, bias);
  if (bias.defined()) return DenseFunction::apply(inputs, weight, bias);
  return DenseFunction::apply(inputs, weight, at::zeros({weight.size(0)}, at::kFloat));
}

torch::Tensor dense(const torch::Tensor& inputs, const torch::nn::Linear& layer,
                    const ForwardContext& context) {
  return dense(inputs, layer->weight, layer->bias, context);
}

}  // namespace lockstep::trainer
