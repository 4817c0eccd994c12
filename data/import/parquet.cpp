#include "data/import/parquet.hpp"

#include <array>
#include <memory>

#include "base/error.hpp"
#include "base/loaded_module.hpp"
#include "base/text.hpp"
#include "data/file_descriptor.hpp"
#include "data/import/parquet_module.hpp"
#include "data/import/table_import.hpp"

namespace lockstep::data {
namespace {

/// Loaded for good: Arrow keeps threads.
detail::OpenParquet* load_parquet() {
  const auto entry =
      base::load_module(detail::kParquetModule, detail::kParquetSymbol, base::ModuleScope::kLocal);
  if (entry.address == nullptr) {
    throw base::EnvironmentError(
        "Parquet files cannot be read (" + entry.problem +
        "; Lockstep was built without Apache Arrow, or Arrow is gone); install it with 'python3 -m "
        "pip install pyarrow' into .deps/venv and run ./bootstrap.sh build, or save the table as "
        "CSV");
  }
  return reinterpret_cast<detail::OpenParquet*>(entry.address);
}

}  // namespace

ImportResult import_parquet(const std::string& path, const ImportOutput& output,
                            const TableOptions& options) {
  detail::ImportWriter writer(output, "parquet", std::array{path});
  // Says plainly that a file is missing or no file at all.
  const detail::FileDescriptor readable(path);
  const std::unique_ptr<detail::TableReader> reader(load_parquet()(path.c_str()));
  return detail::import_table(*reader, path, writer, options);
}

}  // namespace lockstep::data
