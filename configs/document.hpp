#pragma once
// A YAML document as a tree in which every key and value knows its place. Made by
// parse_document, changed by includes, overrides and interpolation, read by the binding.
// Plain values; the text is shared by all places in it. Any thread.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::configs {

class Problems;

// Bounds for hostile input; real configurations stay far below them.
inline constexpr std::size_t kMostFileBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMostNesting = 64;
inline constexpr std::size_t kMostNodes = 20'000;

/// A text that values come from: a file, or one override of the command line.
struct Source {
  enum class Kind { kFile, kOverride };
  Kind kind = Kind::kFile;
  std::string name;  ///< as shown in messages
  std::string text;
};

struct Place {
  std::shared_ptr<const Source> source;  ///< null = nowhere in particular
  int line = 0;                          ///< from 1; 0 = the source as a whole
  int column = 0;                        ///< from 1, in characters
  int length = 0;
};

struct Node {
  enum class Kind { kScalar, kSequence, kMapping };
  struct Entry;

  Kind kind = Kind::kScalar;
  Place place;
  std::string text = {};          ///< of a scalar
  bool plain = true;              ///< a scalar without quotes: may be a number, true, false or null
  std::string written = {};       ///< the text before interpolation, where there was some
  bool from_environment = false;  ///< interpolation used a variable
  bool failed = false;            ///< interpolation reported a problem; the text is no value
  std::vector<Node> items = {};   ///< of a sequence
  std::vector<Entry> entries = {};  ///< of a mapping, in order, keys unique

  /// A plain scalar that YAML reads as null: nothing, `~` or `null`.
  bool is_null() const;
  Entry* find(const std::string& key);
  const Entry* find(const std::string& key) const;
};

struct Node::Entry {
  std::string key;
  Place key_place;
  Node value;
};

/// The node at `path` (`train.optimizer.lr`) below a mapping; null when there is none.
Node* find_path(Node& root, const std::string& path);

/// Parses the one YAML document in `source`, after its first `skip` bytes, with anchors, aliases
/// and merge keys (`<<`) resolved. An empty document is a null scalar. What is wrong goes to
/// `problems`; nothing is returned when no tree could be made.
std::optional<Node> parse_document(std::shared_ptr<const Source> source, std::size_t skip,
                                   Problems& problems);

/// Line `line` (from 1) of a source; empty when there is none, or it is too long to be shown.
std::string line_of(const Source& source, int line);

/// `text` shortened to what fits in a message, in quotes.
std::string shown(const std::string& text);

}  // namespace lockstep::configs
