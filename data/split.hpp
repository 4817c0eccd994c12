#pragma once
// Cuts a dataset file into parts that share no row and miss none. Used by the command
// `data split`. Local; one thread.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::data {

struct SplitPart {
  std::string name;
  double fraction = 0;
};

struct SplitOptions {
  enum class Unreadable {
    kRefuse,
    kDrop,  ///< leave datasets that are no numbers out, and say so
  };
  std::vector<SplitPart> parts;  ///< fractions sum to 1
  std::string stratify{};  ///< an integer dataset [rows]: each part gets its share of each value
  std::string tokens = "tokens";
  std::uint64_t seed = 1;
  std::string output_prefix;  ///< `P` writes `P-train.h5` and so on
  Unreadable unreadable = Unreadable::kRefuse;
};

struct SplitResult {
  struct Part {
    std::string name;
    std::string path;
    std::int64_t rows = 0;
  };
  std::vector<Part> parts;
  std::vector<std::string> notes;  ///< what was left out, and why
};

/// `train=0.8,val=0.1,test=0.1`. Throws ConfigError.
std::vector<SplitPart> parse_split_parts(const std::string& text);

/// How many of `count` rows each part gets: less than one more or less than its exact share. Rows
/// that are left over by rounding go to the parts whose `owed` rows (with this share's remainder)
/// are most; `owed`, one number a part, is brought up to date.
std::vector<std::int64_t> split_counts(std::int64_t count, const std::vector<SplitPart>& parts,
                                       std::vector<double>& owed);

/// Which rows go where is a function of seed, rows and fractions (and of the stratified dataset):
/// the first rows of the seed's permutation to the first part, and so on; of each value by itself
/// when stratified. Inside a part rows keep the order they had. Of a file that has a dataset of
/// tokens and no other numbers, each part is one run of it, in the order of the parts.
///
/// Each part has the attributes `split_of` (the fingerprint of `path`), `split_part`, `split_seed`,
/// `split_fractions` and `split_stratify`, and those of the file and its datasets. Throws DataError
/// when the file is damaged or its datasets have different lengths, ConfigError when a part would
/// be empty. Either all parts appear or, when something fails, none.
SplitResult split(const std::string& path, const SplitOptions& options);

}  // namespace lockstep::data
