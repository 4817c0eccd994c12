#pragma once
// The knobs of one RunConfig as a flat list: full name, address of the value, description. Made
// from `describe` in run_config.hpp; everything that treats all knobs alike walks it.
// The table points into the RunConfig it was made from, which must outlive it. One thread.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "configs/knob.hpp"
#include "configs/run_config.hpp"

namespace lockstep::configs {

using KnobField =
    std::variant<std::string*, std::int64_t*, double*, bool*, std::vector<std::string>*,
                 std::vector<std::int64_t>*, std::vector<double>*>;

struct KnobRow {
  std::string name;  ///< full: `train.optimizer.lr`
  KnobField field;
  Knob knob;
};

struct SectionRow {
  std::string name;
  std::string effect;
};

struct KnobTable {
  std::vector<KnobRow> knobs;
  std::vector<SectionRow> sections;  ///< outer before inner

  const KnobRow* find(const std::string& name) const;
  bool is_section(const std::string& name) const;
  /// Names directly below a section (empty = the top), without the section.
  std::vector<std::string> children(const std::string& section) const;
  /// Full names of knobs and sections that `key` may be short for: its last part is theirs, its
  /// other parts occur in theirs in order. `train.lr` is short for `train.optimizer.lr`.
  std::vector<std::string> long_forms(const std::string& key) const;
  /// The full name that was probably meant by `key` (a full name as well); empty when none is near.
  std::string nearest(const std::string& key) const;
};

KnobTable knob_table(RunConfig& config);

/// `whole number`, `number`, `true or false`, `text`, `list of numbers` and so on.
std::string type_name(const KnobField& field);
/// Allowed values in words, `> 0`, `0 to 1`, `mlp, cnn`; empty when every value of the type is.
std::string allowed_values(const KnobRow& row);
/// The value as YAML in one line.
std::string value_text(const KnobField& field);
/// `parent.child`, or `child` at the top.
std::string joined_name(const std::string& parent, const std::string& child);
/// What stands before and after the last dot.
std::pair<std::string, std::string> split_name(const std::string& name);

}  // namespace lockstep::configs
