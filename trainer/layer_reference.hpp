#pragma once
// What the kernels of LayerKernels compute, on the CPU: the definition that a device is held to.
// All pointers are the host's. Stateless, any thread.

#include <cstdint>

#include "trainer/layer_arguments.h"

namespace lockstep::trainer {

/// values[i], where `values` are of `type`.
float element(ElementType type, const void* values, std::int64_t i);
/// values[i] = value, rounded to the nearest of `type`, ties to even.
void set_element(ElementType type, void* values, std::int64_t i, float value);
std::int64_t bytes_of(ElementType type);

void reference_bias_gelu(const BiasGeluForward& pass);
/// by_bias: rows of a chunk go round eight sums, which are added halves to halves; then the chunks.
void reference_bias_gelu_backward(const BiasGeluBackward& pass);
/// A row's sums: four neighbours and then the next four of each lane (norm_lanes), in turn; then
/// halves of lanes are added to halves, first within each 32.
void reference_layer_norm(const LayerNormForward& pass);
/// by_parameters: the rows of a chunk in turn; then the chunks.
void reference_layer_norm_backward(const LayerNormBackward& pass);
void reference_dropout(const DropoutPass& pass);

}  // namespace lockstep::trainer
