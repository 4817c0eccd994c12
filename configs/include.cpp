#include "configs/include.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"

namespace lockstep::configs {
namespace {

constexpr std::size_t kDeepestInclude = 16;
// Without it, a file that includes another twice, and so on down, would be read 2^depth times.
constexpr int kMostIncludes = 100;

Node empty_mapping(const Place& place) {
  Node node;
  node.kind = Node::Kind::kMapping;
  node.place = place;
  return node;
}

class Loader {
 public:
  explicit Loader(Problems& problems) : problems_(problems) {}

  Node load(std::shared_ptr<const Source> source) {
    open_.push_back(base::absolute_path(source->name));
    auto node = own(source);
    std::vector<Node> wanted = take_include(node);
    auto result = empty_mapping(node.place);
    for (const auto& path : wanted) {
      if (auto included = load_included(path, source->name)) {
        merge_over(result, std::move(*included));
      }
    }
    merge_over(result, std::move(node));
    open_.pop_back();
    return result;
  }

 private:
  /// The document of one file alone, as a mapping.
  Node own(const std::shared_ptr<const Source>& source) {
    const Place whole{source, 0, 0, 0};
    auto node = parse_document(source, 0, problems_);
    if (!node || node->is_null()) return empty_mapping(whole);
    if (node->kind != Node::Kind::kMapping) {
      problems_.set_incomplete();
      problems_.add("the file is not a mapping of sections", node->place,
                    "start with a section, such as 'train:'");
      return empty_mapping(whole);
    }
    return std::move(*node);
  }

  /// Removes `include` from a document and gives the paths it named.
  std::vector<Node> take_include(Node& node) {
    const auto entry = std::find_if(node.entries.begin(), node.entries.end(),
                                    [](const Node::Entry& e) { return e.key == "include"; });
    if (entry == node.entries.end()) return {};
    auto value = std::move(entry->value);
    node.entries.erase(entry);
    std::vector<Node> paths;
    if (value.kind == Node::Kind::kSequence) {
      paths = std::move(value.items);
    } else {
      paths.push_back(std::move(value));
    }
    std::erase_if(paths, [&](const Node& path) {
      const bool usable = path.kind == Node::Kind::kScalar && !path.is_null() &&
                          !path.text.empty() && path.text.find("${") == std::string::npos;
      if (!usable) {
        problems_.add("'include' has a value that is no file name (interpolation comes after it)",
                      path.place, "give a path, or a list of paths");
      }
      return !usable;
    });
    return paths;
  }

  std::optional<Node> load_included(const Node& path, const std::string& includer) {
    const auto folder = base::parent_path(includer);
    const auto name = folder == "." ? path.text : base::join_path(folder, path.text);
    const auto absolute = base::absolute_path(name);
    const auto above = std::find(open_.begin(), open_.end(), absolute);
    if (above != open_.end()) {
      problems_.add("including " + shown(path.text) + " goes in a circle (" +
                        base::joined(std::vector<std::string>(above, open_.end()), " -> ") +
                        " -> " + absolute + ")",
                    path.place, "remove one of these includes");
      problems_.set_incomplete();
      return std::nullopt;
    }
    if (open_.size() > kDeepestInclude) {
      problems_.add(
          "files include each other deeper than " + std::to_string(kDeepestInclude) + " levels",
          path.place, "put them together");
      problems_.set_incomplete();
      return std::nullopt;
    }
    if (included_ >= kMostIncludes) {
      problems_.set_incomplete();
      if (included_++ == kMostIncludes) {
        problems_.add("more than " + std::to_string(kMostIncludes) + " files are included",
                      path.place, "put them together");
      }
      return std::nullopt;
    }
    ++included_;
    auto source = open_source(name, path.place, problems_);
    if (!source) return std::nullopt;
    return load(std::move(source));
  }

  Problems& problems_;
  std::vector<std::string> open_;  ///< absolute paths, from the main file down
  int included_ = 0;
};

/// `did you mean 'exp.yaml'?` when the folder has a file with such a name.
std::string near_file(const std::string& path) {
  const auto folder = base::parent_path(path);
  const auto file = path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
  if (file.size() > 255) return {};
  try {
    const auto names = base::FileSystem::posix().list(folder);
    const auto near = base::nearest_name(file, names);
    if (near) {
      return "did you mean " + base::quote(path.substr(0, path.size() - file.size()) + *near) + "?";
    }
  } catch (const base::Error&) {
    // A folder that cannot be listed gives no advice.
  }
  return {};
}

}  // namespace

std::shared_ptr<const Source> open_source(const std::string& path, const Place& asked,
                                          Problems& problems) {
  auto& files = base::FileSystem::posix();
  auto at = asked;
  if (!at.source) {
    at = {std::make_shared<const Source>(Source{Source::Kind::kFile, path, {}}), 0, 0, 0};
  }
  try {
    const auto size = files.file_size(path);
    if (files.is_directory(path)) {
      problems.add(shown(path) + " is a directory (a YAML file is wanted)", at,
                   "name the file in it");
    } else if (!size) {
      const auto near = near_file(path);
      problems.add("configuration file " + shown(path) + " does not exist", at,
                   near.empty() ? "check the path" : near);
    } else if (*size > kMostFileBytes) {
      problems.add(shown(path) + " is larger than " + base::format_bytes(kMostFileBytes) +
                       " (no configuration is)",
                   at, "check that it is the right file");
    } else {
      return std::make_shared<const Source>(
          Source{Source::Kind::kFile, path, files.read_text(path)});
    }
  } catch (const base::IoError& error) {
    problems.add(error.what(), at);
  }
  problems.set_incomplete();
  return nullptr;
}

void merge_over(Node& base, Node over) {
  // A section whose lines are all commented out says nothing about what is below it.
  if (base.kind == Node::Kind::kMapping && over.is_null()) return;
  if (base.kind != Node::Kind::kMapping || over.kind != Node::Kind::kMapping ||
      base.entries.empty()) {
    base = std::move(over);
    return;
  }
  for (auto& entry : over.entries) {
    if (auto* below = base.find(entry.key)) {
      if (entry.value.kind != Node::Kind::kMapping) below->key_place = entry.key_place;
      merge_over(below->value, std::move(entry.value));
    } else {
      base.entries.push_back(std::move(entry));
    }
  }
}

Node load_with_includes(std::shared_ptr<const Source> source, Problems& problems) {
  return Loader(problems).load(std::move(source));
}

}  // namespace lockstep::configs
