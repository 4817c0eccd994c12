#include "data/shape_text.hpp"

#include <vector>

#include "base/text.hpp"

namespace lockstep::data {
namespace {

std::vector<std::string> words_of(std::span<const std::int64_t> shape) {
  std::vector<std::string> words;
  words.reserve(shape.size());
  for (const auto length : shape) words.push_back(std::to_string(length));
  return words;
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) {
  return "[" + base::joined(words_of(shape)) + "]";
}

std::string dimensions_text(std::span<const std::int64_t> shape) {
  return base::joined(words_of(shape), " x ");
}

}  // namespace lockstep::data
