#include "configs/document.hpp"

#include <libfyaml.h>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "base/text.hpp"
#include "configs/problems.hpp"
#include "configs/text_checks.hpp"

namespace lockstep::configs {
namespace {

struct ParserDeleter {
  void operator()(fy_parser* parser) const { fy_parser_destroy(parser); }
};
using Parser = std::unique_ptr<fy_parser, ParserDeleter>;

struct DiagDeleter {
  void operator()(fy_diag* diag) const {
    // Collected errors hold the tokens and the input; libfyaml 0.7.12 frees them only here.
    fy_diag_reset_error(diag);
    fy_diag_unref(diag);
  }
};
using Diag = std::unique_ptr<fy_diag, DiagDeleter>;

/// Keeps the parser's messages for us; its own default prints them.
Diag make_diag() {
  fy_diag_cfg options{};
  fy_diag_cfg_default(&options);
  options.fp = nullptr;
  Diag diag(fy_diag_create(&options));
  if (diag) fy_diag_set_collect_errors(diag.get(), true);
  return diag;
}

std::size_t height(const Node& node) {
  std::size_t highest = 0;
  for (const auto& item : node.items) highest = std::max(highest, height(item));
  for (const auto& entry : node.entries) highest = std::max(highest, height(entry.value));
  return highest + 1;
}

std::size_t count(const Node& node) {
  std::size_t nodes = 1;
  for (const auto& item : node.items) nodes += count(item);
  for (const auto& entry : node.entries) nodes += count(entry.value);
  return nodes;
}

/// Turns parser events into a tree without recursion.
class TreeBuilder {
 public:
  TreeBuilder(std::shared_ptr<const Source> source, Problems& problems)
      : source_(std::move(source)), problems_(problems) {}

  /// False when the rest of the document is not worth reading.
  bool take(fy_event* event) {
    switch (event->type) {
      case FYET_DOCUMENT_START:
        if (++documents_ > 1) {
          problems_.add("a second document starts here (a configuration is one document)",
                        place(event), "remove the '---' or use another file");
          return false;
        }
        return true;
      case FYET_SCALAR: return take_scalar(event);
      case FYET_ALIAS: return take_alias(event);
      case FYET_SEQUENCE_START: return open(event, Node::Kind::kSequence);
      case FYET_MAPPING_START: return open(event, Node::Kind::kMapping);
      case FYET_SEQUENCE_END:
      case FYET_MAPPING_END: return close();
      default: return true;
    }
  }

  Node root() {
    if (!root_) return Node{.place = {source_, 0, 0, 0}};
    return std::move(*root_);
  }

 private:
  struct Frame {
    Node node;
    std::string anchor;
    std::optional<Node> key;
    std::unordered_set<std::string> keys;
    std::map<std::string, Place> key_places;
    std::vector<Node> merged;  ///< values of `<<`
  };

  Place place(fy_event* event) const {
    const fy_mark* start = fy_event_start_mark(event);
    const fy_mark* end = fy_event_end_mark(event);
    if (start == nullptr) return {source_, 0, 0, 0};
    Place result{source_, start->line + 1, start->column + 1, 1};
    if (event->type != FYET_SCALAR && event->type != FYET_ALIAS) return result;
    const bool one_line = end != nullptr && end->line == start->line;
    const int length = one_line ? end->column - start->column : 1;
    // libfyaml's marks stand inside of the quotes.
    const int quote = event->type == FYET_SCALAR && is_quoted(event->scalar.value) ? 1 : 0;
    result.column = std::max(1, result.column - quote);
    result.length = std::max(1, length + 2 * quote);
    return result;
  }

  static bool is_quoted(fy_token* token) {
    const auto style = fy_token_scalar_style(token);
    return style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
  }

  static std::string text_of(fy_token* token) {
    if (token == nullptr) return {};
    std::size_t length = 0;
    const char* text = fy_token_get_text(token, &length);
    return text == nullptr ? std::string() : std::string(text, length);
  }

  bool refuse_tag(fy_event* event) {
    if (fy_event_get_tag_token(event) == nullptr) return false;
    problems_.add("a tag is used (a value's type is given by its knob)", place(event),
                  "remove the part that starts with '!'");
    return true;
  }

  bool charge(std::size_t nodes, const Place& at) {
    nodes_ += nodes;
    if (nodes_ <= kMostNodes) return true;
    problems_.add("the document holds more than " + base::format_count(kMostNodes) +
                      " values (aliases counted where they are used)",
                  at, "make it smaller");
    return false;
  }

  bool take_scalar(fy_event* event) {
    refuse_tag(event);
    Node node{.place = place(event), .text = text_of(event->scalar.value)};
    node.plain = fy_token_scalar_style(event->scalar.value) == FYSS_PLAIN;
    return charge(1, node.place) && attach(std::move(node), text_of(event->scalar.anchor));
  }

  bool take_alias(fy_event* event) {
    const auto name = text_of(event->alias.anchor);
    const auto at = place(event);
    const auto anchor = anchors_.find(name);
    if (anchor == anchors_.end()) {
      problems_.add("alias " + shown("*" + name) + " names no anchor before it", at,
                    "define it with '&' earlier in the file");
      return false;
    }
    if (stack_.size() + height(anchor->second) > kMostNesting) return too_deep(at);
    return charge(count(anchor->second), at) && attach(anchor->second, {});
  }

  bool too_deep(const Place& at) {
    problems_.add("the document is nested deeper than " + std::to_string(kMostNesting) + " levels",
                  at, "make it flatter");
    return false;
  }

  bool open(fy_event* event, Node::Kind kind) {
    refuse_tag(event);
    const auto at = place(event);
    if (stack_.size() >= kMostNesting) return too_deep(at);
    Frame frame;
    frame.node.kind = kind;
    frame.node.place = at;
    frame.anchor = text_of(fy_event_get_anchor_token(event));
    stack_.push_back(std::move(frame));
    return charge(1, at);
  }

  bool close() {
    auto frame = std::move(stack_.back());
    stack_.pop_back();
    for (const auto& value : frame.merged) merge(frame, value);
    return attach(std::move(frame.node), frame.anchor);
  }

  /// `<<: *base`: entries of `value` whose keys the mapping does not have itself.
  void merge(Frame& frame, const Node& value) {
    if (value.kind == Node::Kind::kSequence) {
      for (const auto& item : value.items) {
        if (item.kind == Node::Kind::kMapping) {
          merge(frame, item);
        } else {
          refuse_merge(item);
        }
      }
    } else if (value.kind == Node::Kind::kMapping) {
      for (const auto& entry : value.entries) {
        if (frame.keys.insert(entry.key).second) frame.node.entries.push_back(entry);
      }
    } else {
      refuse_merge(value);
    }
  }

  void refuse_merge(const Node& value) {
    problems_.add("the merge key '<<' has a value that is no mapping", value.place,
                  "give it an alias of a mapping");
  }

  bool attach(Node node, const std::string& anchor) {
    if (!anchor.empty()) {
      // The copy counts as well: nested anchors would otherwise multiply memory by the depth.
      if (!charge(count(node), node.place)) return false;
      anchors_[anchor] = node;
    }
    if (stack_.empty()) {
      root_ = std::move(node);
      return true;
    }
    auto& frame = stack_.back();
    if (frame.node.kind == Node::Kind::kSequence) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.key) {
      return take_key(frame, std::move(node));
    } else {
      take_entry(frame, std::move(node));
    }
    return true;
  }

  bool take_key(Frame& frame, Node key) {
    if (key.kind != Node::Kind::kScalar) {
      problems_.add("a key is a list or a mapping (keys are words)", key.place,
                    "write 'key: value', and put a value with '{', '[' or '${' in quotes");
      return false;
    }
    frame.key = std::move(key);
    return true;
  }

  void take_entry(Frame& frame, Node value) {
    Node key = std::move(*frame.key);
    frame.key.reset();
    if (key.plain && key.text == "<<") {
      frame.merged.push_back(std::move(value));
      return;
    }
    const auto [first, added] = frame.key_places.emplace(key.text, key.place);
    if (!added) {
      problems_.add("key " + shown(key.text) + " is given twice (first at line " +
                        std::to_string(first->second.line) + ")",
                    key.place, "remove one of them");
      return;
    }
    frame.keys.insert(key.text);
    frame.node.entries.push_back({std::move(key.text), std::move(key.place), std::move(value)});
  }

  std::shared_ptr<const Source> source_;
  Problems& problems_;
  std::vector<Frame> stack_;
  std::map<std::string, Node> anchors_;
  std::optional<Node> root_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
};

void report_syntax(fy_diag* diag, const std::shared_ptr<const Source>& source, Problems& problems) {
  void* position = nullptr;
  const fy_diag_error* first = fy_diag_errors_iterate(diag, &position);
  Place place{source, 0, 0, 0};
  std::string reason = "the parser gives no reason";
  if (first != nullptr) {
    if (first->msg != nullptr) reason = first->msg;
    if (first->line > 0) place = {source, first->line, first->column, 1};
  }
  const auto line = line_of(*source, place.line);
  problems.add("this is not valid YAML (" + reason + ")", place,
               line.find("${") == std::string::npos
                   ? "check quotes, brackets and indentation here"
                   : "inside of braces or brackets, put a value with '${' in quotes");
}

}  // namespace

bool Node::is_null() const {
  return kind == Kind::kScalar && plain && written.empty() &&
         (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL");
}

const Node::Entry* Node::find(const std::string& key) const {
  const auto entry = std::find_if(entries.begin(), entries.end(),
                                  [&](const Entry& candidate) { return candidate.key == key; });
  return entry == entries.end() ? nullptr : &*entry;
}

Node::Entry* Node::find(const std::string& key) {
  return const_cast<Entry*>(std::as_const(*this).find(key));
}

Node* find_path(Node& root, const std::string& path) {
  Node* node = &root;
  for (const auto& part : base::split(path, '.')) {
    auto* entry = node->kind == Node::Kind::kMapping ? node->find(part) : nullptr;
    if (entry == nullptr) return nullptr;
    node = &entry->value;
  }
  return node;
}

std::optional<Node> parse_document(std::shared_ptr<const Source> source, std::size_t skip,
                                   Problems& problems) {
  if (!check_text(source, problems)) return std::nullopt;
  // Blanks instead of what is skipped keep the columns right.
  auto text = source->text;
  std::fill_n(text.begin(), std::min(skip, text.size()), ' ');

  fy_parse_cfg options{};
  options.flags = static_cast<fy_parse_cfg_flags>(FYPCF_QUIET | FYPCF_COLLECT_DIAG |
                                                  FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE);
  const Diag diag = make_diag();
  options.diag = diag.get();
  const Parser parser(fy_parser_create(&options));
  if (!diag || !parser || fy_parser_set_string(parser.get(), text.data(), text.size()) != 0) {
    throw base::InternalError("libfyaml could not be started (out of memory?); free memory");
  }
  TreeBuilder builder(source, problems);
  while (fy_event* event = fy_parser_parse(parser.get())) {
    const bool ends = event->type == FYET_STREAM_END;
    const bool goes_on = builder.take(event);
    fy_parser_event_free(parser.get(), event);
    if (!goes_on) {
      problems.set_incomplete();
      return std::nullopt;
    }
    if (ends) break;
  }
  if (fy_parser_get_stream_error(parser.get())) {
    problems.set_incomplete();
    report_syntax(diag.get(), source, problems);
    return std::nullopt;
  }
  return builder.root();
}

std::string line_of(const Source& source, int line) {
  // A longer line cannot be read on a terminal anyway.
  constexpr std::size_t kMostLineBytes = 400;
  if (line == 0) return {};
  std::string_view rest = source.text;
  for (int i = 1; i < line; ++i) {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return {};
    rest.remove_prefix(end + 1);
  }
  rest = rest.substr(0, rest.find('\n'));
  if (!rest.empty() && rest.back() == '\r') rest.remove_suffix(1);
  return rest.size() <= kMostLineBytes ? std::string(rest) : std::string();
}

std::string shown(const std::string& text) {
  constexpr std::size_t kMost = 80;
  if (text.size() <= kMost) return base::quote(text);
  auto end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return base::quote(text.substr(0, end) + "...");
}

}  // namespace lockstep::configs
