#include "base/loaded_module.hpp"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

namespace lockstep::base {

std::string module_path(const std::string& file) {
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& path : {folder / file, folder / LOCKSTEP_MODULES / file}) {
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
  return {};
}

ModuleEntry load_module(const std::string& file, const char* symbol, ModuleScope scope) {
  const auto path = module_path(file);
  void* library = ::dlopen(path.empty() ? file.c_str() : path.c_str(),
                           RTLD_NOW | (scope == ModuleScope::kGlobal ? RTLD_GLOBAL : RTLD_LOCAL));
  void* address = library == nullptr ? nullptr : ::dlsym(library, symbol);
  if (address != nullptr) return {.address = address, .problem = {}};
  const char* reason = ::dlerror();
  return {.address = nullptr, .problem = reason == nullptr ? "no reason given" : reason};
}

}  // namespace lockstep::base
