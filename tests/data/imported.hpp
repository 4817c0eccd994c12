#pragma once
// What an import test reads back: columns and attributes of the file it wrote. For tests of one
// thread.

#include <string>
#include <vector>

#include "data/dataset_file.hpp"

namespace lockstep::tests {

/// All elements of a column.
template <class T>
std::vector<T> column_of(const std::string& path, const std::string& name) {
  data::DatasetFile file(path);
  const auto& info = file.column(name);
  std::vector<T> values(static_cast<std::size_t>(info.rows() * info.row_elements()));
  file.read_rows(name, 0, info.rows(), std::as_writable_bytes(std::span(values)));
  return values;
}

/// A text attribute of the file; empty when there is none.
std::string attribute_of(const std::string& path, const std::string& name);

void write_text(const std::string& path, const std::string& text);

}  // namespace lockstep::tests
