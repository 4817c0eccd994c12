#include "tests/launcher/program.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "launcher/captured.hpp"

namespace lockstep::launcher {

Program::Program() {
  environment = {{"PATH", std::getenv("PATH")}, {"HOME", directory_.path()}, {"LANG", "C.UTF-8"}};
  if (const char* options = std::getenv("ASAN_OPTIONS")) environment["ASAN_OPTIONS"] = options;
}

Answer Program::run(const std::vector<std::string>& words) const {
  std::vector<std::string> argv{"/usr/bin/env", "-C", directory_.path(), LOCKSTEP_BINARY};
  argv.insert(argv.end(), words.begin(), words.end());
  const auto captured = run_captured(argv, environment, std::chrono::seconds(30));
  EXPECT_TRUE(captured) << "lockstep was not done in 30 s";
  if (!captured) return {.exit_code = -1, .output = "", .errors = ""};
  return {captured->exit_code, captured->output, captured->errors};
}

void Program::write(const std::string& name, const std::string& text) const {
  std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
  std::ofstream(path(name), std::ios::binary) << text;
}

std::string Program::read(const std::string& name) const {
  std::ifstream file(path(name), std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void Program::set_worker(const std::string& script) {
  write("worker", "#!/bin/sh\n" + script + "\n");
  std::filesystem::permissions(path("worker"), std::filesystem::perms::owner_all);
  environment["LOCKSTEP_WORKER"] = path("worker");
}

}  // namespace lockstep::launcher
