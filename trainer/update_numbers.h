#pragma once
// The numbers of one optimizer update, made on the host once a step and used on whatever computes:
// optimizer.cpp, or a kernel of a device. C++17 and plain, for nvcc.

namespace lockstep::trainer {

enum class UpdateRule { kSgd, kSgdMomentum, kSgdNesterov, kAdam };

struct SgdNumbers {
  float lr, momentum, weight_decay;
};

struct AdamNumbers {
  float step_size, beta1, beta2, one_minus_beta1, one_minus_beta2, inverse_bias2_root, eps;
  float keep;  ///< AdamW: 1 - lr * weight_decay
  float l2;    ///< Adam: weight_decay
};

/// The factor on each gradient is apart: a device may know it before the host does.
struct UpdateNumbers {
  UpdateRule rule = UpdateRule::kSgd;
  SgdNumbers sgd{};
  AdamNumbers adam{};
};

/// A copy of parameters in shorter floats, made by rounding to the nearest, ties to even.
enum class ShortType { kNone, kBFloat16, kFloat16 };
struct ShortCopy {
  void* values = nullptr;
  ShortType type = ShortType::kNone;

  /// The same from `element` on.
  ShortCopy from(long long element) const {
    constexpr int kBytes = 2;
    return {values == nullptr ? nullptr : static_cast<char*>(values) + kBytes * element, type};
  }
};

}  // namespace lockstep::trainer
