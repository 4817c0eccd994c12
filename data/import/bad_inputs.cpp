#include "data/import/bad_inputs.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::data::detail {
namespace {

constexpr std::size_t kMostListed = 10;

}  // namespace

void BadInputs::add(const std::string& problem) {
  ++count_;
  if (first_.size() < kMostListed) first_.push_back(problem);
}

void BadInputs::refuse() const {
  if (count_ == 0) return;
  throw base::DataError(counted() + " cannot be used (" + words_.rule + "); mend " +
                        (count_ == 1 ? "it, or leave it" : "them, or leave them") + " out with " +
                        words_.option + list());
}

std::string BadInputs::note() const {
  return counted() + (count_ == 1 ? " was" : " were") + " left out" + list();
}

std::string BadInputs::counted() const {
  return base::format_count(static_cast<std::uint64_t>(count_)) + " " +
         (count_ == 1 ? words_.one : words_.many);
}

std::string BadInputs::list() const {
  std::string text;
  for (const auto& problem : first_) text += "\n  " + problem;
  const auto more = static_cast<std::uint64_t>(count_) - first_.size();
  if (more > 0) text += "\n  and " + base::format_count(more) + " more";
  return text;
}

}  // namespace lockstep::data::detail
