#include "base/error.hpp"
#include "base/text.hpp"
#include "configs/document.hpp"
#include "configs/knob_table.hpp"
#include "configs/reference.hpp"

namespace lockstep::configs {
namespace {

std::string affects_text(Affects affects) {
  switch (affects) {
    case Affects::kResult: return "yes, and part of the configuration hash";
    case Affects::kData: return "yes, through the data, which are compared by fingerprint";
    case Affects::kExecution: return "no";
  }
  return "no";
}

std::string explain_knob(const LoadedConfig& loaded, const KnobRow& row,
                         const KnobTable& defaults) {
  const auto origin = loaded.origins.find(row.name);
  const auto known = origin == loaded.origins.end() ? Origin{} : origin->second;
  const auto standard = value_text(defaults.find(row.name)->field);
  auto from = describe_origin(known);
  if (known.kind == Origin::Kind::kDefault && standard != value_text(row.field)) {
    from = "derived: without train.micro_batch nothing else is possible";
  }
  const auto allowed = allowed_values(row);
  std::string text = row.name + " = " + value_text(row.field) + "\n";
  text += "  from            " + from + "\n";
  text += "  effect          " + row.knob.effect + "\n";
  text += "  type            " + type_name(row.field) +
          (row.knob.unit.empty() ? "" : " [" + row.knob.unit + "]") + "\n";
  if (!allowed.empty()) text += "  allowed         " + allowed + "\n";
  text += "  default         " + standard + "\n";
  text += "  changes result  " + affects_text(row.knob.affects) + "\n";
  return text;
}

/// The full name that `key` stands for.
std::string full_name(const KnobTable& table, const std::string& key) {
  if (table.find(key) != nullptr || table.is_section(key)) return key;
  const auto names = table.long_forms(key);
  if (names.size() == 1) return names.front();
  if (names.size() > 1) {
    throw base::ConfigError("key " + shown(key) + " is ambiguous (it is short for " +
                            base::joined(names) + "); write one of them");
  }
  const auto near = table.nearest(key);
  throw base::ConfigError("key " + shown(key) + " is unknown (no knob or section ends like it); " +
                          (near.empty() ? "'lockstep config reference' lists all keys"
                                        : "did you mean " + base::quote(near) + "?"));
}

}  // namespace

std::string explain(const LoadedConfig& loaded, const std::string& key) {
  auto config = loaded.config;
  const auto table = knob_table(config);
  RunConfig standard;
  const auto defaults = knob_table(standard);
  const auto name = full_name(table, key);
  if (const auto* row = table.find(name)) return explain_knob(loaded, *row, defaults);
  std::string text;
  for (const auto& row : table.knobs) {
    if (!row.name.starts_with(name + ".")) continue;
    if (!text.empty()) text += "\n";
    text += explain_knob(loaded, row, defaults);
  }
  return text;
}

}  // namespace lockstep::configs
