#pragma once
// Checked conversion between integer types: the one way to hand a size to a C interface that
// takes `int`. Header only, any thread.

#include <string>
#include <utility>

#include "base/error.hpp"

namespace lockstep::base {

/// `value` as `To`, the same number. Throws InternalError when it does not fit.
template <class To, class From>
constexpr To narrow(From value) {
  if (!std::in_range<To>(value)) {
    throw InternalError("number " + std::to_string(value) +
                        " does not fit the narrower type it is passed as (" +
                        std::to_string(sizeof(To)) + " bytes); report this bug");
  }
  return static_cast<To>(value);
}

}  // namespace lockstep::base
