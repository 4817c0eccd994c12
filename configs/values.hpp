#pragma once
// Numbers and words as text and back: YAML 1.2 core schema without its lenient forms. Used by the
// binding, the writer and the reference. Pure functions, any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lockstep::configs {

enum class NumberProblem { kNone, kNotANumber, kNotFinite, kTooLarge, kNotWhole };

/// Decimal, `0x` and `0o` integers, and decimal fractions that are whole (`1e3`).
NumberProblem parse_integer(std::string_view text, std::int64_t& value);
/// Decimal numbers; `.inf` and `.nan` are recognised and refused.
NumberProblem parse_real(std::string_view text, double& value);

/// The shortest decimal text that reads back as the same number.
std::string format_real(double value);

/// Offset of the first character in `text` that is NUL or not UTF-8 (RFC 3629, section 4).
std::optional<std::size_t> invalid_text(std::string_view text);

/// `text` as a YAML scalar that a configuration reads back as the same text: quoted where it must
/// be, with `${` written as `$${`.
std::string yaml_text(std::string_view text);

}  // namespace lockstep::configs
