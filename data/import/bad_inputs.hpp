#pragma once
// The rows or files of an input that cannot be used: how many, and the first ten with their places.
// Internal to data/import. One thread.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::data::detail {

class BadInputs {
 public:
  /// `noun`: what they are, for example `row of 'a.csv'` and its plural. `rule`: what each must be.
  struct Words {
    std::string one;
    std::string many;
    std::string rule;
    std::string option;  ///< of the command line that leaves them out
  };
  explicit BadInputs(Words words) : words_(std::move(words)) {}

  /// `problem`: the place and what is wrong there.
  void add(const std::string& problem);
  std::int64_t count() const { return count_; }
  /// Throws DataError with the list when there are any.
  void refuse() const;
  /// That they were left out, with the list.
  std::string note() const;

 private:
  std::string counted() const;
  std::string list() const;

  Words words_;
  std::int64_t count_ = 0;
  std::vector<std::string> first_;
};

}  // namespace lockstep::data::detail
