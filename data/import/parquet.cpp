#include "data/import/parquet.hpp"

#include <dlfcn.h>

#include <array>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/file_descriptor.hpp"
#include "data/import/parquet_module.hpp"
#include "data/import/table_import.hpp"

namespace lockstep::data {
namespace {

/// Where the module lies: beside the program, in the folder where an installed program has it, or
/// anywhere that the system looks.
std::string module_path() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& path :
       {folder / detail::kParquetModule, folder / LOCKSTEP_MODULES / detail::kParquetModule}) {
    if (fs::exists(path, ignored)) return path.string();
  }
  return detail::kParquetModule;
}

/// Loaded for good: Arrow keeps threads.
detail::OpenParquet* load_module() {
  void* module = ::dlopen(module_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  void* symbol = module == nullptr ? nullptr : ::dlsym(module, detail::kParquetSymbol);
  if (symbol == nullptr) {
    const char* reason = ::dlerror();
    throw base::EnvironmentError(
        std::string("Parquet files cannot be read (") +
        (reason == nullptr ? "no reason given" : reason) +
        "; Lockstep was built without Apache Arrow, or Arrow is gone); install it with 'python3 -m "
        "pip install pyarrow' into .deps/venv and run ./bootstrap.sh build, or save the table as "
        "CSV");
  }
  return reinterpret_cast<detail::OpenParquet*>(symbol);
}

}  // namespace

ImportResult import_parquet(const std::string& path, const ImportOutput& output,
                            const TableOptions& options) {
  detail::ImportWriter writer(output, "parquet", std::array{path});
  // Says plainly that a file is missing or no file at all.
  const detail::FileDescriptor readable(path);
  const std::unique_ptr<detail::TableReader> reader(load_module()(path.c_str()));
  return detail::import_table(*reader, path, writer, options);
}

}  // namespace lockstep::data
