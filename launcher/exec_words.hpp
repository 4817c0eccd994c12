#pragma once
// Words and variables in the form that execve and posix_spawn take. Header only; one thread.

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::launcher {

/// Owns the texts; `data` stays valid while the object lives.
class ExecWords {
 public:
  explicit ExecWords(std::vector<std::string> words) : words_(std::move(words)) { point(); }
  explicit ExecWords(const std::map<std::string, std::string>& variables) {
    words_.reserve(variables.size());
    for (const auto& [name, value] : variables) words_.emplace_back(name).append("=").append(value);
    point();
  }
  ExecWords(const ExecWords&) = delete;
  ExecWords& operator=(const ExecWords&) = delete;

  char** data() { return pointers_.data(); }

 private:
  void point() {
    pointers_.reserve(words_.size() + 1);
    for (auto& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }

  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

}  // namespace lockstep::launcher
