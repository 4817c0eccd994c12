#include "data/dataset_paths.hpp"

#include <glob.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data {
namespace {

class Matches {
 public:
  explicit Matches(const std::string& pattern)
      : found_(::glob(pattern.c_str(), 0, nullptr, &list_) == 0) {}
  ~Matches() { ::globfree(&list_); }
  Matches(const Matches&) = delete;
  Matches& operator=(const Matches&) = delete;

  std::vector<std::string> paths() const {
    if (!found_) return {};
    return {list_.gl_pathv, list_.gl_pathv + list_.gl_pathc};
  }

 private:
  glob_t list_{};
  bool found_;
};

}  // namespace

std::vector<std::string> dataset_paths(const std::vector<std::string>& names) {
  std::vector<std::string> paths;
  for (const auto& name : names) {
    if (name.empty()) continue;
    if (name.find_first_of("*?[") == std::string::npos) {
      paths.push_back(name);
      continue;
    }
    const auto found = Matches(name).paths();
    if (found.empty()) {
      throw base::DataError("no data file matches " + base::quote(name) +
                            " (a pattern stands for existing files); check the path");
    }
    paths.insert(paths.end(), found.begin(), found.end());
  }
  return paths;
}

}  // namespace lockstep::data
