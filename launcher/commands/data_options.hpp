#pragma once
// Options that several `data` commands share. Used by the files in this folder.

#include <string>

#include "launcher/commands/command.hpp"

namespace lockstep::launcher {

/// `--threads` and `--no-cache`.
class DataOptions {
 public:
  DataOptions();
  void declare_threads(CLI::App& app);
  void declare_cache(CLI::App& app);

  int threads() const { return threads_; }
  /// Where results are kept between commands; empty with --no-cache.
  std::string cache_directory(const Session& session) const;

 private:
  int threads_;
  bool no_cache_ = false;
};

}  // namespace lockstep::launcher
