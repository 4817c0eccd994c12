#pragma once
// What is known about one knob besides its name, type and default. Written beside the fields in
// run_config.hpp, read by the reader, the reference page, the JSON Schema and the hash.
// Plain values, any thread.

#include <concepts>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace lockstep::configs {

/// Whether another value of the knob may change the trained state (`state_digest`).
enum class Affects {
  kResult,     ///< it may; part of the configuration hash
  kData,       ///< it names data; the fingerprints of the data stand for it in comparisons
  kExecution,  ///< it changes where, how long or how visibly a run works, never its result
};

/// A list's bounds and names hold for each of its elements.
struct Knob {
  std::string effect;     ///< one line: what it does
  std::string unit = {};  ///< empty when the number is a plain count or ratio
  Affects affects = Affects::kResult;
  double least = -std::numeric_limits<double>::infinity();
  double above = -std::numeric_limits<double>::infinity();  ///< exclusive bound
  double most = std::numeric_limits<double>::infinity();
  double below = std::numeric_limits<double>::infinity();  ///< exclusive bound
  std::vector<std::string> names = {};                     ///< allowed words, empty = any text
};

/// `C` is `T` or `const T`: lets one `describe` serve readers and writers of a struct.
template <class C, class T>
concept MaybeConst = std::same_as<std::remove_const_t<C>, T>;

}  // namespace lockstep::configs
