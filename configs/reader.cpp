#include "configs/reader.hpp"

#include <memory>
#include <utility>

#include "base/text.hpp"
#include "configs/binding.hpp"
#include "configs/include.hpp"
#include "configs/interpolation.hpp"
#include "configs/knob_table.hpp"
#include "configs/overrides.hpp"
#include "configs/problems.hpp"
#include "configs/validate.hpp"

namespace lockstep::configs {
namespace {

std::string written_text(const Node& node) {
  if (!node.written.empty()) return node.written;
  if (node.kind == Node::Kind::kScalar) return node.text;
  std::vector<std::string> parts;
  for (const auto& item : node.items) parts.push_back(written_text(item));
  return "[" + base::joined(parts) + "]";
}

Origin origin_of(const Node& node) {
  const auto& place = node.place;
  Origin origin{Origin::Kind::kFile, place.source ? place.source->name : std::string(), place.line,
                place.column, written_text(node)};
  if (place.source && place.source->kind == Source::Kind::kOverride) {
    origin = {Origin::Kind::kOverride, {}, 0, 0, place.source->text};
  } else if (node.from_environment) {
    origin.kind = Origin::Kind::kEnvironment;
  }
  return origin;
}

LoadedConfig read(std::shared_ptr<const Source> source, const ReadOptions& options,
                  Problems& problems) {
  LoadedConfig loaded;
  loaded.main_file = source->name;
  loaded.overrides = options.overrides;
  const auto table = knob_table(loaded.config);

  auto root = load_with_includes(source, problems);
  apply_overrides(root, options.overrides, table, problems);
  interpolate(root, options.environment, table, problems);
  const auto binding = bind(root, table, problems);
  if (!problems.incomplete()) {
    validate(loaded.config, binding, {source, 0, 0, 0}, problems);
  }
  problems.throw_if_any();

  for (const auto& row : table.knobs) {
    const auto value = binding.values.find(row.name);
    loaded.origins[row.name] = value == binding.values.end() ? Origin{} : origin_of(*value->second);
  }
  return loaded;
}

}  // namespace

LoadedConfig read_config(const std::string& path, const ReadOptions& options) {
  Problems problems;
  auto source = open_source(path, {}, problems);
  problems.throw_if_any();
  return read(std::move(source), options, problems);
}

LoadedConfig read_config_text(const std::string& text, const std::string& name,
                              const ReadOptions& options) {
  Problems problems;
  return read(std::make_shared<const Source>(Source{Source::Kind::kFile, name, text}), options,
              problems);
}

std::string describe_origin(const Origin& origin) {
  const auto place =
      origin.file + ":" + std::to_string(origin.line) + ":" + std::to_string(origin.column);
  switch (origin.kind) {
    case Origin::Kind::kDefault: return "default";
    case Origin::Kind::kFile: return place;
    case Origin::Kind::kOverride: return "override " + base::quote(origin.text);
    case Origin::Kind::kEnvironment: return place + " " + base::quote(origin.text);
  }
  return "default";
}

}  // namespace lockstep::configs
