#include "base/output_path.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/text.hpp"

namespace lockstep::base {

void require_output_path(const std::string& path) {
  auto& files = FileSystem::posix();
  const auto output = "output " + quote(path);
  if (path.empty()) throw ConfigError("the output has no name; give a file name");
  if (files.is_directory(path)) {
    throw ConfigError(output + " is a directory (a file is written); give a file name in it");
  }
  const auto folder = parent_path(path);
  if (!files.is_directory(folder)) {
    throw ConfigError(output + " cannot be made (" +
                      (files.exists(folder) ? quote(folder) + " is no folder); name another one"
                                            : "there is no folder " + quote(folder) +
                                                  "); make the folder, or name another one"));
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw ConfigError(output + " cannot be made (folder " + quote(folder) + ": " +
                      std::strerror(errno) + "); name one that you may write to");
  }
}

}  // namespace lockstep::base
