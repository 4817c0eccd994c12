#pragma once
// How the columns of a table (CSV, Parquet) become inputs and targets. Plain values.

#include <string>
#include <vector>

#include "data/import/import.hpp"

namespace lockstep::data {

enum class TextFeatures {
  kRefuse,
  kEncode,  ///< each as the index of its text among the column's texts in sorted order
};

enum class TargetKind {
  kInferred,  ///< integers and texts are classes, other numbers are values
  kValues,    ///< numbers, even where all are integers: regression
};

/// Columns are named as the table names them, or by their number from 1.
struct TableOptions {
  /// Empty: the first of `y`, `label`, `target`, `class` that there is, otherwise the last column.
  std::string target{};
  /// In the order of the inputs. Empty: all columns that have a name, but the target and `drop`.
  std::vector<std::string> features{};
  std::vector<std::string> drop{};
  TextFeatures text_features = TextFeatures::kRefuse;
  TargetKind target_kind = TargetKind::kInferred;
  BadInput bad_rows = BadInput::kRefuse;
};

}  // namespace lockstep::data
