#include "checkpoints/run_names.hpp"

#include <array>

namespace lockstep::checkpoints {
namespace {

constexpr std::array kColors{"amber",  "azure", "beige",  "black",   "blue",   "bronze", "brown",
                             "cobalt", "coral", "copper", "crimson", "cyan",   "golden", "green",
                             "indigo", "ivory", "jade",   "lilac",   "lime",   "maroon", "mauve",
                             "olive",  "opal",  "pearl",  "plum",    "purple", "ruby",   "russet",
                             "silver", "teal",  "violet", "white"};

constexpr std::array kAnimals{"badger", "bear",   "beaver", "bison",  "crane",  "deer",  "dolphin",
                              "eagle",  "falcon", "ferret", "finch",  "fox",    "gecko", "goose",
                              "hare",   "hawk",   "heron",  "ibex",   "jackal", "koala", "lark",
                              "lemur",  "lynx",   "marten", "moose",  "otter",  "owl",   "panda",
                              "puffin", "raven",  "robin",  "salmon", "seal",   "shrew", "stork",
                              "swan",   "tapir",  "tern",   "trout",  "turtle", "viper", "vole",
                              "walrus", "weasel", "whale",  "wolf",   "wren",   "yak"};

}  // namespace

std::string run_name(std::uint64_t number) {
  return std::string(kColors[number / kAnimals.size() % kColors.size()]) + "-" +
         kAnimals[number % kAnimals.size()];
}

std::uint64_t run_name_count() { return kColors.size() * kAnimals.size(); }

}  // namespace lockstep::checkpoints
