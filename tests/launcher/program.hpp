#pragma once
// Runs the real `lockstep` binary in an empty directory of its own, with a small environment, and
// keeps what it says. For the command line's tests.

#include <map>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.hpp"

namespace lockstep::launcher {

struct Answer {
  int exit_code = 0;
  std::string output;
  std::string errors;
};

class Program {
 public:
  Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Runs `lockstep words...`; fails the test when it is not done within 30 s.
  Answer run(const std::vector<std::string>& words) const;

  /// Path of a file in the directory.
  std::string path(const std::string& name) const { return directory_.file(name); }
  void write(const std::string& name, const std::string& text) const;
  std::string read(const std::string& name) const;
  /// Makes a shell script the worker that `lockstep` starts.
  void set_worker(const std::string& script);

  std::map<std::string, std::string> environment;

 private:
  tests::TemporaryDirectory directory_;
};

}  // namespace lockstep::launcher
