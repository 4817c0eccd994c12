#include "configs/overrides.hpp"

#include <algorithm>
#include <memory>

#include "base/narrow.hpp"
#include "base/text.hpp"
#include "configs/include.hpp"
#include "configs/values.hpp"

namespace lockstep::configs {
namespace {

constexpr std::size_t kLongestOverride = 65536;

std::string place_text(const Place& place) {
  if (!place.source) return "the file";
  if (place.source->kind == Source::Kind::kOverride) {
    return "override " + shown(place.source->text);
  }
  return place.source->name + ":" + std::to_string(place.line);
}

class Override {
 public:
  Override(std::shared_ptr<const Source> source, const KnobTable& table, Problems& problems)
      : source_(std::move(source)), table_(table), problems_(problems) {}

  void apply(Node& root) {
    const auto& text = source_->text;
    const char sign = text.empty() ? '\0' : text.front();
    const std::size_t start = sign == '+' || sign == '~' ? 1 : 0;
    const auto equals = text.find('=');
    const auto key = text.substr(start, equals == std::string::npos ? equals : equals - start);
    key_place_ = {source_, 1, base::narrow<int>(start + 1), base::narrow<int>(key.size())};
    if (text.find('\n') < equals && equals != std::string::npos) {
      problems_.add("an override has a line break in its key", key_place_, "write key=value");
      return;
    }
    if (!known(key)) return;
    if (sign == '~') {
      remove(root, key, equals);
    } else if (equals == std::string::npos) {
      problems_.add("override " + shown(text) + " has no value", key_place_,
                    "write " + text + "=value, or ~" + key + " for the default");
    } else {
      set(root, key, equals, sign == '+');
    }
  }

 private:
  bool known(const std::string& key) {
    if (table_.find(key) != nullptr || table_.is_section(key)) return true;
    if (problems_.full()) {
      problems_.add({}, {});
      return false;
    }
    const auto near = table_.nearest(key);
    const auto what = key.empty() ? "an override has no key" : "unknown key " + shown(key);
    problems_.add(what, key_place_,
                  near.empty() ? "'lockstep config reference' lists all keys"
                               : "did you mean " + base::quote(near) + "?");
    return false;
  }

  void remove(Node& root, const std::string& key, std::size_t equals) {
    if (equals != std::string::npos) {
      problems_.add("an override that deletes has a value", key_place_, "write ~" + key);
      return;
    }
    const auto [parent, child] = split_name(key);
    Node* section = parent.empty() ? &root : find_path(root, parent);
    if (section == nullptr || section->find(child) == nullptr) {
      problems_.add(base::quote(key) + " is not set, so it cannot be deleted", key_place_,
                    "remove this override");
      return;
    }
    std::erase_if(section->entries,
                  [name = child](const Node::Entry& entry) { return entry.key == name; });
  }

  void set(Node& root, const std::string& key, std::size_t equals, bool adds) {
    if (const auto* before = find_path(root, key); adds && before != nullptr) {
      problems_.add(base::quote(key) + " is already set (" + place_text(before->place) +
                        "), so it cannot be added",
                    key_place_, "remove the '+' to replace it");
      return;
    }
    auto value = parse_value(equals);
    if (!value) return;
    Node tree = std::move(*value);
    auto rest = key;
    while (!rest.empty()) {
      const auto [parent, child] = split_name(rest);
      Node outer;
      outer.kind = Node::Kind::kMapping;
      outer.place = key_place_;
      outer.entries.push_back({child, key_place_, std::move(tree)});
      tree = std::move(outer);
      rest = parent;
    }
    merge_over(root, std::move(tree));
  }

  std::optional<Node> parse_value(std::size_t equals) {
    if (equals + 1 == source_->text.size()) {
      Node empty;
      empty.plain = false;
      empty.place = {source_, 1, base::narrow<int>(equals + 1), 1};
      return empty;
    }
    return parse_document(source_, equals + 1, problems_);
  }

  std::shared_ptr<const Source> source_;
  const KnobTable& table_;
  Problems& problems_;
  Place key_place_;
};

}  // namespace

void apply_overrides(Node& root, const std::vector<std::string>& overrides, const KnobTable& table,
                     Problems& problems) {
  for (const auto& text : overrides) {
    const auto source =
        std::make_shared<const Source>(Source{Source::Kind::kOverride, "command line", text});
    if (text.size() > kLongestOverride || invalid_text(text)) {
      problems.add("override " + shown(text) + " is no text of at most " +
                       base::format_bytes(kLongestOverride),
                   {source, 0, 0, 0}, "write key=value");
      continue;
    }
    Override(source, table, problems).apply(root);
  }
}

}  // namespace lockstep::configs
