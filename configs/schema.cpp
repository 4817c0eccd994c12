#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/text.hpp"
#include "configs/knob_table.hpp"
#include "configs/reference.hpp"

namespace lockstep::configs {
namespace {

using Json = nlohmann::ordered_json;

void add_bounds(Json& schema, const Knob& knob) {
  if (std::isfinite(knob.least)) schema["minimum"] = knob.least;
  if (std::isfinite(knob.most)) schema["maximum"] = knob.most;
  if (std::isfinite(knob.above)) schema["exclusiveMinimum"] = knob.above;
  if (std::isfinite(knob.below)) schema["exclusiveMaximum"] = knob.below;
}

template <class T>
Json scalar_schema(const Knob& knob) {
  Json schema;
  if constexpr (std::is_same_v<T, bool>) {
    schema["type"] = "boolean";
  } else if constexpr (std::is_same_v<T, std::string>) {
    // Words such as `123` are texts to the reader and numbers to an editor.
    schema["type"] = {"string", "number", "boolean"};
    if (!knob.names.empty()) schema = {{"enum", knob.names}};
  } else {
    schema["type"] = std::is_same_v<T, double> ? "number" : "integer";
    add_bounds(schema, knob);
  }
  return schema;
}

template <class T>
struct Value {
  static Json schema(const Knob& knob) { return scalar_schema<T>(knob); }
};
template <class T>
struct Value<std::vector<T>> {
  static Json schema(const Knob& knob) {
    const auto item = scalar_schema<T>(knob);
    Json list = {{"type", "array"}, {"items", item}};
    return {{"anyOf", Json::array({item, list})}};
  }
};

Json knob_schema(const KnobRow& row) {
  return std::visit(
      [&](const auto* value) {
        using T = std::remove_cvref_t<decltype(*value)>;
        const Json interpolation = {{"type", "string"}, {"pattern", "\\$\\{"}};
        Json schema;
        schema["description"] =
            row.knob.effect + (row.knob.unit.empty() ? "" : " [" + row.knob.unit + "]");
        schema["default"] = *value;
        schema["anyOf"] = Json::array({Value<T>::schema(row.knob), interpolation});
        return schema;
      },
      row.field);
}

Json section_schema(const KnobTable& table, const std::string& section) {
  Json schema;
  schema["type"] = {"object", "null"};
  schema["additionalProperties"] = false;
  for (const auto& row : table.sections) {
    if (row.name == section) schema["description"] = row.effect;
  }
  for (const auto& child : table.children(section)) {
    const auto name = joined_name(section, child);
    const auto* row = table.find(name);
    schema["properties"][child] = row != nullptr ? knob_schema(*row) : section_schema(table, name);
  }
  return schema;
}

}  // namespace

std::string json_schema() {
  RunConfig config;
  const auto table = knob_table(config);
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "Lockstep run configuration"}};
  schema.update(section_schema(table, ""));
  schema["type"] = "object";
  const Json path = {{"type", "string"}};
  schema["properties"]["include"] = {
      {"description", "files that this one is put on top of, relative to it"},
      {"anyOf", Json::array({path, Json{{"type", "array"}, {"items", path}}})}};
  return schema.dump(2) + "\n";
}

}  // namespace lockstep::configs
