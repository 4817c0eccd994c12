#include "configs/writer.hpp"

#include <nlohmann/json.hpp>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "configs/knob_table.hpp"

namespace lockstep::configs {
namespace {

std::size_t depth(const std::string& name) { return base::split(name, '.').size() - 1; }

std::string comment(const std::string& name, const std::map<std::string, Origin>* origins) {
  if (origins == nullptr) return {};
  const auto origin = origins->find(name);
  if (origin == origins->end()) return {};
  // quote() keeps an override's line breaks from ending the comment.
  const auto quoted = base::quote(describe_origin(origin->second));
  return "  # " + quoted.substr(1, quoted.size() - 2);
}

}  // namespace

std::string to_yaml(const RunConfig& config, const std::map<std::string, Origin>* origins) {
  auto copy = config;
  const auto table = knob_table(copy);
  std::string text;
  const auto write_section = [&](const auto& self, const std::string& section) -> void {
    for (const auto& child : table.children(section)) {
      const auto name = joined_name(section, child);
      text.append(2 * depth(name), ' ') += child + ":";
      if (const auto* row = table.find(name)) {
        text += " " + value_text(row->field) + comment(name, origins) + "\n";
      } else {
        text += "\n";
        self(self, name);
      }
    }
  };
  write_section(write_section, "");
  return text;
}

nlohmann::json to_json(const RunConfig& config) {
  auto copy = config;
  auto root = nlohmann::json::object();
  for (const auto& row : knob_table(copy).knobs) {
    auto* object = &root;
    for (const auto& part : base::split(row.name, '.')) object = &(*object)[part];
    std::visit([&](const auto* value) { *object = *value; }, row.field);
  }
  return root;
}

std::string config_hash(const RunConfig& config) {
  auto copy = config;
  std::map<std::string, std::string> lines;
  for (const auto& row : knob_table(copy).knobs) {
    if (row.knob.affects == Affects::kResult) lines[row.name] = value_text(row.field);
  }
  // Do not change: part of the format, see README.md.
  std::string canonical = "lockstep-config 1\n";
  for (const auto& [name, value] : lines) canonical += name + "=" + value + "\n";
  return base::sha256_hex(canonical);
}

}  // namespace lockstep::configs
