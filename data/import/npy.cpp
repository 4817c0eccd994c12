#include "data/import/npy.hpp"

#include <optional>
#include <vector>

#include "base/text.hpp"
#include "data/import/npy_array.hpp"

namespace lockstep::data {

using detail::NpyArray;
using detail::NpyFile;

ImportResult import_npy(const std::string& inputs, const std::string& targets,
                        const ImportOutput& output) {
  std::vector<std::string> files{inputs};
  if (!targets.empty()) files.push_back(targets);
  detail::ImportWriter writer(output, "npy", files);
  const auto open = [](const std::string& path) {
    return NpyArray("array " + base::quote(path), std::make_unique<NpyFile>(path));
  };
  auto x = open(inputs);
  std::optional<NpyArray> y;
  if (!targets.empty()) y.emplace(open(targets));
  std::vector<std::string> names;
  names.reserve(files.size());
  for (const auto& file : files) names.push_back(detail::file_name_of(file));
  return detail::import_arrays(x, y ? &*y : nullptr, writer, output.path, names);
}

}  // namespace lockstep::data
