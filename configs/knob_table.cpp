#include "configs/knob_table.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/text.hpp"
#include "configs/values.hpp"

namespace lockstep::configs {
namespace {

// Longer words are no typos, and the distance costs the product of the lengths.
constexpr std::size_t kLongestTypo = 64;

/// The visitor of `describe` that fills a table.
class TableMaker {
 public:
  explicit TableMaker(KnobTable& table) : table_(table) {}

  template <class T>
  void knob(const char* name, T& field, Knob knob) {
    table_.knobs.push_back({joined_name(section_, name), &field, std::move(knob)});
  }

  template <class T>
  void section(const char* name, T& section, const char* effect) {
    const auto outer = std::exchange(section_, joined_name(section_, name));
    table_.sections.push_back({section_, effect});
    describe(*this, section);
    section_ = outer;
  }

 private:
  KnobTable& table_;
  std::string section_;
};

bool is_short_for(const std::vector<std::string>& key, const std::vector<std::string>& name) {
  if (key.empty() || name.empty() || key.back() != name.back()) return false;
  std::size_t matched = 0;
  for (const auto& part : name) {
    if (matched < key.size() && key[matched] == part) ++matched;
  }
  return matched == key.size();
}

std::string bound(double value) {
  // 1e9 and the like are meant as counts.
  if (value == std::trunc(value) && std::abs(value) < 1e15) {
    const auto whole = static_cast<std::int64_t>(value);
    return whole < 0 ? std::to_string(whole)
                     : base::format_count(static_cast<std::uint64_t>(whole));
  }
  return format_real(value);
}

std::string range_text(const Knob& knob) {
  const bool least = std::isfinite(knob.least);
  const bool most = std::isfinite(knob.most);
  if (least && most) return bound(knob.least) + " to " + bound(knob.most);
  std::vector<std::string> parts;
  if (least) parts.push_back("at least " + bound(knob.least));
  if (std::isfinite(knob.above)) parts.push_back("above " + bound(knob.above));
  if (most) parts.push_back("at most " + bound(knob.most));
  if (std::isfinite(knob.below)) parts.push_back("below " + bound(knob.below));
  return base::joined(parts, ", ");
}

std::string text_of(const std::string& value) { return yaml_text(value); }
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(double value) { return format_real(value); }
std::string text_of(bool value) { return value ? "true" : "false"; }
template <class T>
std::string text_of(const std::vector<T>& values) {
  std::vector<std::string> parts;
  for (const auto& value : values) parts.push_back(text_of(value));
  return "[" + base::joined(parts) + "]";
}

}  // namespace

const KnobRow* KnobTable::find(const std::string& name) const {
  const auto row =
      std::find_if(knobs.begin(), knobs.end(), [&](const KnobRow& r) { return r.name == name; });
  return row == knobs.end() ? nullptr : &*row;
}

bool KnobTable::is_section(const std::string& name) const {
  return std::any_of(sections.begin(), sections.end(),
                     [&](const SectionRow& row) { return row.name == name; });
}

std::vector<std::string> KnobTable::children(const std::string& section) const {
  std::vector<std::string> names;
  const auto take = [&](const std::string& name) {
    const auto [parent, child] = split_name(name);
    if (parent == section) names.push_back(child);
  };
  for (const auto& row : knobs) take(row.name);
  for (const auto& row : sections) take(row.name);
  return names;
}

std::vector<std::string> KnobTable::long_forms(const std::string& key) const {
  const auto parts = base::split(key, '.');
  std::vector<std::string> names;
  const auto take = [&](const std::string& name) {
    if (is_short_for(parts, base::split(name, '.'))) names.push_back(name);
  };
  for (const auto& row : knobs) take(row.name);
  for (const auto& row : sections) take(row.name);
  return names;
}

std::string KnobTable::nearest(const std::string& key) const {
  if (key.size() > kLongestTypo) return {};
  const auto [parent, child] = split_name(key);
  if (parent.empty() || is_section(parent)) {
    if (const auto sibling = base::nearest_name(child, children(parent))) {
      return joined_name(parent, *sibling);
    }
  }
  if (const auto names = long_forms(key); names.size() == 1) return names.front();
  if (const auto names = long_forms(child); names.size() == 1) return names.front();
  std::vector<std::string> names;
  for (const auto& row : knobs) names.push_back(row.name);
  for (const auto& row : sections) names.push_back(row.name);
  if (const auto name = base::nearest_name(key, names); name && !parent.empty()) return *name;
  std::vector<std::string> last;
  for (const auto& name : names) last.push_back(split_name(name).second);
  if (const auto name = base::nearest_name(child, last)) {
    if (const auto found = long_forms(*name); found.size() == 1) return found.front();
  }
  return {};
}

KnobTable knob_table(RunConfig& config) {
  KnobTable table;
  TableMaker maker(table);
  describe(maker, config);
  return table;
}

std::string type_name(const KnobField& field) {
  struct Name {
    std::string operator()(std::string*) const { return "text"; }
    std::string operator()(std::int64_t*) const { return "whole number"; }
    std::string operator()(double*) const { return "number"; }
    std::string operator()(bool*) const { return "true or false"; }
    std::string operator()(std::vector<std::string>*) const { return "list of texts"; }
    std::string operator()(std::vector<std::int64_t>*) const { return "list of whole numbers"; }
    std::string operator()(std::vector<double>*) const { return "list of numbers"; }
  };
  return std::visit(Name{}, field);
}

std::string allowed_values(const KnobRow& row) {
  if (!row.knob.names.empty()) return base::joined(row.knob.names);
  const auto range = range_text(row.knob);
  return range.empty() || row.knob.unit.empty() ? range : range + " " + row.knob.unit;
}

std::string value_text(const KnobField& field) {
  return std::visit([](const auto* value) { return text_of(*value); }, field);
}

std::string joined_name(const std::string& parent, const std::string& child) {
  return parent.empty() ? child : parent + "." + child;
}

std::pair<std::string, std::string> split_name(const std::string& name) {
  const auto dot = name.rfind('.');
  if (dot == std::string::npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

}  // namespace lockstep::configs
