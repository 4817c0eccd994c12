#pragma once
// Parts of Lockstep that are libraries of their own, loaded when they are wanted: what needs Arrow,
// what calls CUDA. They lie beside the program when it is built, and in a folder of their own when
// it is installed. Any thread.

#include <string>

namespace lockstep::base {

/// Where `file` is; empty when it is in neither place.
std::string module_path(const std::string& file);

/// Whether what a module defines is seen by libraries that look for it.
enum class ModuleScope { kLocal, kGlobal };

struct ModuleEntry {
  void* address = nullptr;
  std::string problem;  ///< the loader's words when there is no address
};
/// `symbol` of the module `file`, which is loaded for the rest of the process; also from wherever
/// the system looks.
ModuleEntry load_module(const std::string& file, const char* symbol, ModuleScope scope);

}  // namespace lockstep::base
