#include "configs/binding.hpp"

#include <algorithm>
#include <variant>

#include "base/text.hpp"
#include "configs/values.hpp"

namespace lockstep::configs {
namespace {

/// Reads one knob's value. Each method returns false after it reported a problem.
class ValueReader {
 public:
  ValueReader(const KnobRow& row, Problems& problems) : row_(row), problems_(problems) {}

  template <class T>
  bool read(const Node& node, T& value) {
    if (node.kind != Node::Kind::kScalar) {
      const auto* kind = node.kind == Node::Kind::kSequence ? "a list" : "a mapping";
      return refuse(node, std::string("is ") + kind);
    }
    if (node.is_null()) return refuse(node, "has no value", "give one, or remove the key");
    return scalar(node, value) && within_bounds(node, value);
  }

  template <class T>
  bool read(const Node& node, std::vector<T>& values) {
    values.clear();
    if (node.kind != Node::Kind::kSequence) {
      T value{};
      if (!read(node, value)) return false;
      // No text at all, as `data.test=` gives, is no entry.
      if constexpr (std::is_same_v<T, std::string>) {
        if (value.empty()) return true;
      }
      values.push_back(value);
      return true;
    }
    bool good = true;
    for (const auto& item : node.items) {
      T value{};
      good = read(item, value) && good;
      values.push_back(value);
    }
    return good;
  }

 private:
  bool refuse(const Node& node, const std::string& what, std::string advice = {}) {
    problems_.add(row_.name + " " + what + " (" + wanted() + " is wanted)", node.place,
                  std::move(advice));
    return false;
  }

  std::string wanted() const {
    struct Word {
      std::string operator()(std::string*) const { return "a text"; }
      std::string operator()(std::int64_t*) const { return "a whole number"; }
      std::string operator()(double*) const { return "a number"; }
      std::string operator()(bool*) const { return "true or false"; }
      std::string operator()(std::vector<std::string>*) const { return "a list of texts"; }
      std::string operator()(std::vector<std::int64_t>*) const { return "a list of whole numbers"; }
      std::string operator()(std::vector<double>*) const { return "a list of numbers"; }
    };
    return std::visit(Word{}, row_.field);
  }

  bool scalar(const Node& node, std::string& value) {
    value = node.text;
    const bool controls = std::any_of(value.begin(), value.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    if (!controls) return allowed_word(node);
    problems_.add(row_.name + " holds a line break or another control character", node.place,
                  "write it in one line");
    return false;
  }

  bool scalar(const Node& node, bool& value) {
    value = node.text == "true";
    if (value || node.text == "false") {
      return node.plain || refuse(node, "is the text " + shown(node.text), "remove the quotes");
    }
    return refuse(node, "is " + shown(node.text), advice_for_bool(node.text));
  }

  /// For the words that YAML 1.1 and other formats take for true and false.
  static std::string advice_for_bool(const std::string& text) {
    static const std::vector<std::string> kYes{"True", "TRUE", "yes", "Yes", "YES", "y",
                                               "Y",    "on",   "On",  "ON",  "1"};
    static const std::vector<std::string> kNo{"False", "FALSE", "no",  "No",  "NO", "n",
                                              "N",     "off",   "Off", "OFF", "0"};
    if (std::find(kYes.begin(), kYes.end(), text) != kYes.end()) return "write true";
    if (std::find(kNo.begin(), kNo.end(), text) != kNo.end()) return "write false";
    return {};
  }

  bool scalar(const Node& node, std::int64_t& value) {
    return number(node, node.plain ? parse_integer(node.text, value) : NumberProblem::kNotANumber);
  }
  bool scalar(const Node& node, double& value) {
    return number(node, node.plain ? parse_real(node.text, value) : NumberProblem::kNotANumber);
  }

  bool number(const Node& node, NumberProblem problem) {
    const auto text = shown(node.text);
    std::int64_t ignored_integer = 0;
    double ignored_real = 0;
    switch (problem) {
      case NumberProblem::kNone: return true;
      case NumberProblem::kNotFinite: return refuse(node, "is " + text + ", which is not finite");
      case NumberProblem::kTooLarge:
        return refuse(node, "is " + text + ", which a 64-bit number cannot hold");
      case NumberProblem::kNotWhole: return refuse(node, "is " + text + ", which is a fraction");
      case NumberProblem::kNotANumber:
        if (!node.plain && (parse_integer(node.text, ignored_integer) == NumberProblem::kNone ||
                            parse_real(node.text, ignored_real) == NumberProblem::kNone)) {
          return refuse(node, "is the text " + text, "remove the quotes");
        }
        return refuse(node, "is " + text);
    }
    return false;
  }

  bool allowed_word(const Node& node) {
    const auto& names = row_.knob.names;
    if (names.empty() || std::find(names.begin(), names.end(), node.text) != names.end()) {
      return true;
    }
    const auto near = base::nearest_name(node.text.substr(0, 64), names);
    problems_.add(
        row_.name + " is " + shown(node.text) + " (it is one of " + base::joined(names) + ")",
        node.place, near ? "did you mean " + base::quote(*near) + "?" : "");
    return false;
  }

  bool within_bounds(const Node&, const std::string&) { return true; }
  bool within_bounds(const Node&, bool) { return true; }
  template <class T>
  bool within_bounds(const Node& node, T value) {
    const auto number = static_cast<double>(value);
    const auto& knob = row_.knob;
    if (number >= knob.least && number <= knob.most && number > knob.above && number < knob.below) {
      return true;
    }
    problems_.add(
        row_.name + " is " + shown(node.text) + " (" + allowed_values(row_) + " is allowed)",
        node.place);
    return false;
  }

  const KnobRow& row_;
  Problems& problems_;
};

class Binder {
 public:
  Binder(const KnobTable& table, Problems& problems) : table_(table), problems_(problems) {}

  void bind_section(const Node& node, const std::string& section) {
    if (node.is_null()) return;
    if (node.kind != Node::Kind::kMapping) {
      problems_.add(
          base::quote(section) + " is a section, not a value", node.place,
          "write its knobs below it, such as '" + table_.children(section).front() + ":'");
      refuse_all(section);
      return;
    }
    for (const auto& entry : node.entries) {
      const auto name = joined_name(section, entry.key);
      if (entry.key.find('.') != std::string::npos) {
        // Only overrides and references write names with dots.
        report_unknown(entry, section);
      } else if (const auto* row = table_.find(name)) {
        bind_knob(entry, *row);
      } else if (table_.is_section(name)) {
        binding_.keys[name] = entry.key_place;
        bind_section(entry.value, name);
      } else {
        report_unknown(entry, section);
      }
    }
  }

  Binding take() { return std::move(binding_); }

 private:
  void bind_knob(const Node::Entry& entry, const KnobRow& row) {
    binding_.keys[row.name] = entry.key_place;
    binding_.values[row.name] = &entry.value;
    ValueReader reader(row, problems_);
    const bool good =
        !entry.value.failed && !item_failed(entry.value) &&
        std::visit([&](auto* field) { return reader.read(entry.value, *field); }, row.field);
    if (!good) binding_.refused.insert(row.name);
  }

  static bool item_failed(const Node& node) {
    return std::any_of(node.items.begin(), node.items.end(),
                       [](const Node& item) { return item.failed; });
  }

  /// What depends on the knobs of a broken section is not judged.
  void refuse_all(const std::string& section) {
    for (const auto& row : table_.knobs) {
      if (row.name.starts_with(section + ".")) binding_.refused.insert(row.name);
    }
  }

  void report_unknown(const Node::Entry& entry, const std::string& section) {
    std::string advice;
    if (!problems_.full()) {
      const auto near = table_.nearest(joined_name(section, entry.key));
      if (near == entry.key) {
        advice = "in a file, write " + base::quote(split_name(near).second + ":") + " below " +
                 base::quote(split_name(near).first + ":");
      } else if (!near.empty()) {
        const auto [parent, child] = split_name(near);
        advice = "did you mean " + base::quote(parent == section ? child : near) + "?";
      }
      // What was meant is not reported as missing as well.
      binding_.refused.insert(near);
      refuse_all(near);
      if (near.empty()) advice = "it has " + base::joined(table_.children(section));
    }
    problems_.add(
        "unknown key " + shown(entry.key) + (section.empty() ? "" : " in " + base::quote(section)),
        entry.key_place, std::move(advice));
  }

  const KnobTable& table_;
  Problems& problems_;
  Binding binding_;
};

}  // namespace

Binding bind(const Node& root, const KnobTable& table, Problems& problems) {
  Binder binder(table, problems);
  binder.bind_section(root, "");
  return binder.take();
}

}  // namespace lockstep::configs
