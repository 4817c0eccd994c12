#pragma once
// Activation checkpointing for models' forward functions: of a part of the model only the inputs
// are kept, and the backward pass computes it once more (Chen et al. 2016, "Training deep nets with
// sublinear memory cost"). The same bits as without. One rank, one thread.

#include <functional>

#include "trainer/model.hpp"

namespace lockstep::trainer {

using Layer = std::function<torch::autograd::variable_list(const torch::autograd::variable_list&,
                                                           const ForwardContext&)>;

/// layer(inputs, context), where context asks for it with inputs alone kept for the backward pass;
/// at least one of them must need a gradient. `layer` is a pure function of inputs, parameters and
/// the random numbers of its context, with parameters that no other part of the model has: not one
/// with BatchNorm, whose statistics would move twice. It lives until the backward pass is over.
torch::autograd::variable_list recomputed(const Layer& layer,
                                          const torch::autograd::variable_list& inputs,
                                          const ForwardContext& context);

}  // namespace lockstep::trainer
