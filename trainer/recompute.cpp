#include "trainer/recompute.hpp"

#include "trainer/device_forward.hpp"
#include "trainer/precision.hpp"

namespace lockstep::trainer {
namespace {

using torch::autograd::variable_list;

/// What a second forward pass needs besides the inputs.
struct Again final : torch::CustomClassHolder {
  Layer layer;
  ForwardContext context;
  std::optional<DeviceForward> device;  ///< that of the context, as it was
  Precision precision = Precision::kFloat32;
};

class Recomputed final : public torch::autograd::Function<Recomputed> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* saved, at::TensorList inputs,
                               const Layer& layer, const ForwardContext& context) {
    auto again = c10::make_intrusive<Again>();
    again->layer = layer;
    again->context = context;
    again->precision = Autocast::now(inputs[0].device());
    // As it stands before the first pass draws from it.
    if (context.generator.defined()) again->context.generator = context.generator.clone();
    if (context.device != nullptr) again->device.emplace(*context.device);
    saved->save_for_backward(inputs.vec());
    saved->saved_data["again"] = c10::IValue::make_capsule(again);
    return layer(inputs.vec(), context);
  }

  static variable_list backward(torch::autograd::AutogradContext* saved,
                                const variable_list& gradients) {
    const auto again =
        c10::static_intrusive_pointer_cast<Again>(saved->saved_data["again"].toCapsule());
    variable_list inputs;
    for (const auto& input : saved->get_saved_variables()) {
      inputs.push_back(input.detach().requires_grad_(input.requires_grad()));
    }
    const at::AutoGradMode with_graph(true);
    auto device = again->device;
    auto context = again->context;
    context.device = device ? &*device : nullptr;
    const auto outputs = [&] {
      const Autocast autocast(inputs[0].device(), again->precision);
      return again->layer(inputs, context);
    }();
    torch::autograd::backward(outputs, gradients);
    variable_list results;
    for (const auto& input : inputs) results.push_back(input.grad());
    results.resize(results.size() + 2);  // for layer and context
    return results;
  }
};

}  // namespace

variable_list recomputed(const Layer& layer, const variable_list& inputs,
                         const ForwardContext& context) {
  if (!context.recompute || !context.training()) return layer(inputs, context);
  return Recomputed::apply(at::TensorList(inputs), layer, context);
}

}  // namespace lockstep::trainer
