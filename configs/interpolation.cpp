#include "configs/interpolation.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "base/text.hpp"
#include "configs/values.hpp"

namespace lockstep::configs {
namespace {

constexpr int kDeepestBraces = 16;
constexpr std::size_t kLongestChain = 64;
// References can double a text at each step, so what they make is bounded.
constexpr std::size_t kMostMadeBytes = std::size_t{1} << 20;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Where the brace that closes the `${` at `start` stands; npos when none does.
std::size_t closing_brace(std::string_view text, std::size_t start) {
  int depth = 0;
  for (auto i = start; i < text.size(); ++i) {
    if (text.substr(i, 2) == "${") {
      ++depth;
      ++i;
    } else if (text[i] == '}' && --depth == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

class Interpolation {
 public:
  Interpolation(Node& root, const std::map<std::string, std::string>& environment,
                const KnobTable& table, Problems& problems)
      : root_(root), environment_(environment), table_(table), problems_(problems) {}

  void resolve_all(Node& node, const std::string& name) {
    if (node.kind != Node::Kind::kMapping) {
      resolve(node, name);
      return;
    }
    for (auto& entry : node.entries) resolve_all(entry.value, joined_name(name, entry.key));
  }

 private:
  /// What one pass over a text made; `list` when the text was one reference to a list.
  struct Result {
    std::string text;
    std::optional<Node> list;
    bool from_environment = false;
    bool changed = false;
  };

  /// Resolves a knob's value, and before it what it refers to.
  void resolve(Node& node, const std::string& name) {
    auto& state = states_[name];
    if (state == State::kDone) return;
    state = State::kOpen;
    chain_.push_back(name);
    if (node.kind == Node::Kind::kSequence) {
      for (auto& item : node.items) {
        if (item.kind == Node::Kind::kScalar) resolve_scalar(item);
      }
    } else {
      resolve_scalar(node);
    }
    chain_.pop_back();
    states_[name] = State::kDone;
  }

  void resolve_scalar(Node& node) {
    if (node.text.find("${") == std::string::npos) return;
    auto result = expand(node.text, node.place, 0);
    if (!result) {
      node.written = node.text;
      node.failed = true;
      return;
    }
    node.written = std::exchange(node.text, std::move(result->text));
    // A quoted interpolation is quoted for YAML's sake; a text without one stays a text.
    if (result->changed) node.plain = true;
    node.from_environment = result->from_environment;
    if (result->list) {
      node.kind = Node::Kind::kSequence;
      node.items = std::move(result->list->items);
      for (auto& item : node.items) item.place = node.place;
    }
  }

  /// Nothing when a problem was reported.
  std::optional<Result> expand(std::string_view text, const Place& place, int depth) {
    if (depth > kDeepestBraces) {
      problems_.add("interpolations stand in each other deeper than " +
                        std::to_string(kDeepestBraces) + " levels",
                    place, "write the value out");
      return std::nullopt;
    }
    Result result;
    for (std::size_t i = 0; i < text.size();) {
      if (text.substr(i, 3) == "$${") {
        result.text += "${";
        i += 3;
      } else if (text.substr(i, 2) != "${") {
        result.text += text[i++];
      } else {
        const auto end = closing_brace(text, i);
        if (end == std::string_view::npos) {
          problems_.add("an interpolation in " + shown(std::string(text)) + " is not closed", place,
                        "add the '}', or write '$${' for the two characters");
          return std::nullopt;
        }
        auto part = evaluate(text.substr(i + 2, end - i - 2), place, depth);
        if (!part || !charge(*part, place)) return std::nullopt;
        const bool alone = i == 0 && end + 1 == text.size();
        if (part->list && !alone) {
          problems_.add("a reference to a list stands inside of a text", place,
                        "use it alone as the value");
          return std::nullopt;
        }
        result.text += part->text;
        result.list = std::move(part->list);
        result.from_environment |= part->from_environment;
        result.changed = true;
        i = end + 1;
      }
    }
    return result;
  }

  bool charge(const Result& part, const Place& place) {
    made_bytes_ += part.text.size();
    if (part.list) made_bytes_ += sizeof(Node) * part.list->items.size();
    if (made_bytes_ <= kMostMadeBytes) return true;
    problems_.add(
        "interpolation makes more than " + base::format_bytes(kMostMadeBytes) + " of text", place,
        "write the values out");
    return false;
  }

  /// What stands between the braces.
  std::optional<Result> evaluate(std::string_view body, const Place& place, int depth) {
    auto inner = expand(body, place, depth + 1);
    if (!inner) return std::nullopt;
    if (inner->list) {
      problems_.add("a reference to a list stands inside of an interpolation", place,
                    "use it alone as the value");
      return std::nullopt;
    }
    const auto text = trimmed(inner->text);
    if (text.starts_with("env:")) return variable(text.substr(4), place);
    return reference(std::string(text), place);
  }

  std::optional<Result> variable(std::string_view text, const Place& place) {
    const auto comma = text.find(',');
    const std::string name(trimmed(text.substr(0, comma)));
    Result result;
    result.from_environment = true;
    if (const auto found = environment_.find(name); found != environment_.end()) {
      if (invalid_text(found->second)) {
        problems_.add("environment variable " + shown(name) + " is not UTF-8 text", place,
                      "set it anew");
        return std::nullopt;
      }
      result.text = found->second;
    } else if (comma != std::string_view::npos) {
      result.text = trimmed(text.substr(comma + 1));
    } else {
      problems_.add("environment variable " + shown(name) + " is not set", place,
                    "set it, or give a default: ${env:" + name + ",value}");
      return std::nullopt;
    }
    return result;
  }

  std::optional<Result> reference(const std::string& name, const Place& place) {
    if (table_.is_section(name)) {
      problems_.add("reference to " + shown(name) + " names a section, not a value", place,
                    "name a knob in it");
      return std::nullopt;
    }
    Node* target = find_path(root_, name);
    if (target == nullptr) return default_of(name, place);
    const auto state = states_.find(name);
    if (state != states_.end() && state->second == State::kOpen) {
      auto circle =
          std::vector<std::string>(std::find(chain_.begin(), chain_.end(), name), chain_.end());
      circle.push_back(name);
      problems_.add("references go in a circle (" + base::joined(circle, " -> ") + ")", place,
                    "give one of them a value");
      return std::nullopt;
    }
    if (chain_.size() > kLongestChain) {
      problems_.add("a chain of references is longer than " + std::to_string(kLongestChain), place,
                    "write the value out");
      return std::nullopt;
    }
    resolve(*target, name);
    // Its own problem was reported where it stands.
    if (target->failed) return std::nullopt;
    Result result;
    result.from_environment = target->from_environment;
    if (target->kind == Node::Kind::kScalar) {
      result.text = target->text;
    } else {
      result.list = *target;
    }
    return result;
  }

  std::optional<Result> default_of(const std::string& name, const Place& place) {
    const auto* row = table_.find(name);
    if (row == nullptr) {
      const auto near = problems_.full() ? std::string() : table_.nearest(name);
      problems_.add("reference to unknown key " + shown(name), place,
                    near.empty() ? "name a knob as section.key, or a variable as env:NAME"
                                 : "did you mean " + base::quote(near) + "?");
      return std::nullopt;
    }
    Result result;
    if (const auto* text = std::get_if<std::string*>(&row->field)) {
      result.text = **text;
    } else if (auto written = value_text(row->field); written.starts_with('[')) {
      result.list = list_of(written, place);
    } else {
      result.text = std::move(written);
    }
    return result;
  }

  /// A default list; its elements are numbers, so commas separate and nothing is quoted.
  static Node list_of(std::string_view written, const Place& place) {
    Node list;
    list.kind = Node::Kind::kSequence;
    for (const auto& part : base::split(written.substr(1, written.size() - 2), ',')) {
      Node item;
      item.place = place;
      item.text = trimmed(part);
      list.items.push_back(std::move(item));
    }
    return list;
  }

  enum class State { kNew, kOpen, kDone };

  Node& root_;
  const std::map<std::string, std::string>& environment_;
  const KnobTable& table_;
  Problems& problems_;
  std::map<std::string, State> states_;
  std::vector<std::string> chain_;
  std::size_t made_bytes_ = 0;
};

}  // namespace

void interpolate(Node& root, const std::map<std::string, std::string>& environment,
                 const KnobTable& table, Problems& problems) {
  Interpolation(root, environment, table, problems).resolve_all(root, "");
}

}  // namespace lockstep::configs
