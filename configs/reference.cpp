#include "configs/reference.hpp"

#include "configs/knob_table.hpp"

namespace lockstep::configs {
namespace {

/// `text` for a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '|') result += '\\';
    result += c;
  }
  return result.empty() ? "–" : result;
}

std::string code(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

std::string result_text(Affects affects) {
  switch (affects) {
    case Affects::kResult: return "yes";
    case Affects::kData: return "by the data";
    case Affects::kExecution: return "no";
  }
  return "no";
}

}  // namespace

std::string reference_markdown() {
  RunConfig config;
  const auto table = knob_table(config);
  std::string text =
      "# Configuration reference\n\n"
      "Every knob of a run. \"Result\" says whether another value may change the trained state;\n"
      "those knobs make up the configuration hash. A list of one may be written without "
      "brackets.\n";
  for (const auto& section : table.sections) {
    text += "\n## " + section.name + "\n\n" + section.effect + "\n\n";
    text += "| knob | type | default | allowed | effect | result |\n";
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for (const auto& row : table.knobs) {
      const auto [parent, child] = split_name(row.name);
      if (parent != section.name) continue;
      const auto unit = row.knob.unit.empty() ? "" : " [" + row.knob.unit + "]";
      text += "| " + code(child) + " | " + type_name(row.field) + unit + " | " +
              cell(code(value_text(row.field))) + " | " + cell(allowed_values(row)) + " | " +
              cell(row.knob.effect) + " | " + result_text(row.knob.affects) + " |\n";
    }
  }
  return text;
}

}  // namespace lockstep::configs
