#include "trainer/precision.hpp"

#include <ATen/autocast_mode.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::trainer {

Precision precision_of(const std::string& name) {
  if (name == "f32") return Precision::kFloat32;
  if (name == "bf16") return Precision::kBFloat16;
  if (name == "f16") return Precision::kFloat16;
  throw base::ConfigError("precision " + base::quote(name) +
                          " is unknown (f32, bf16 and f16 exist); choose one");
}

at::ScalarType type_of(Precision precision) {
  switch (precision) {
    case Precision::kFloat32: return at::kFloat;
    case Precision::kBFloat16: return at::kBFloat16;
    case Precision::kFloat16: return at::kHalf;
  }
  return at::kFloat;
}

Autocast::Autocast(at::Device device, Precision precision)
    : device_(device.type()), active_(precision != Precision::kFloat32) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  old_type_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::increment_nesting();
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, type_of(precision));
}

Precision Autocast::now(at::Device device) {
  if (!at::autocast::is_autocast_enabled(device.type())) return Precision::kFloat32;
  const bool half = at::autocast::get_autocast_dtype(device.type()) == at::kHalf;
  return half ? Precision::kFloat16 : Precision::kBFloat16;
}

Autocast::~Autocast() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, old_type_);
}

}  // namespace lockstep::trainer
