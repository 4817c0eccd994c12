#pragma once
// Which version of the user's own files an experiment was made with. Starts git, so it must be
// called before MPI is initialised and before there are threads.

#include <string>

namespace lockstep::checkpoints {

struct SourceVersion {
  std::string commit = "unknown";  ///< 40 digits, or `unknown` without git or repository
  bool dirty = false;
  std::string patch;  ///< `git diff HEAD`, cut at 4 MiB; files that git does not know are not in it
};

/// Of the repository that `directory` lies in. Never an error.
SourceVersion source_version(const std::string& directory);

}  // namespace lockstep::checkpoints
