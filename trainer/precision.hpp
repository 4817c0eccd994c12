#pragma once
// What a model computes with: 32-bit floats, or shorter ones where they are exact enough
// (Micikevicius et al. 2018, "Mixed precision training"). Parameters, gradients' sums and optimizer
// states are 32-bit floats either way. Used by ParameterSpace. Any thread.

#include <ATen/core/Tensor.h>

#include <string>

namespace lockstep::trainer {

enum class Precision { kFloat32, kBFloat16, kFloat16 };

/// Throws ConfigError for a name that is not f32, bf16 or f16.
Precision precision_of(const std::string& name);
/// Of the tensors that are computed with where that is exact enough.
at::ScalarType type_of(Precision precision);

/// While it lives, operations of this thread on `device` choose the types that suit them (as
/// torch.autocast). Nothing with 32-bit floats.
class Autocast {
 public:
  Autocast(at::Device device, Precision precision);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  /// What this thread computes with on `device` now.
  static Precision now(at::Device device);

 private:
  at::DeviceType device_;
  bool active_;
  bool was_enabled_ = false;
  at::ScalarType old_type_ = at::kFloat;
};

}  // namespace lockstep::trainer
