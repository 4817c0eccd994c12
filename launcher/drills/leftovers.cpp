#include "launcher/drills/leftovers.hpp"

#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/clock.hpp"
#include "launcher/child_process.hpp"

namespace lockstep::launcher {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShownCommand = 80;
constexpr std::chrono::milliseconds kPeriod{10};

void reap() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

std::string described(int pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::string command;
  std::getline(file, command, '\x01');
  std::ranges::replace(command, '\0', ' ');
  while (command.ends_with(' ')) command.pop_back();
  if (command.size() > kShownCommand) command = command.substr(0, kShownCommand - 3) + "...";
  return fmt::format("process {} ({})", pid, command);
}

bool is_number(const std::string& name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether a process maps the file or has it open.
bool is_used_by(const fs::path& process, const std::string& path) {
  std::ifstream maps(process / "maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(path)) return true;
  }
  std::error_code refused;
  for (const auto& entry : fs::directory_iterator(process / "fd", refused)) {
    if (fs::read_symlink(entry.path(), refused) == path) return true;
  }
  return false;
}

bool is_used(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    if (is_number(entry.path().filename()) && is_used_by(entry.path(), path)) return true;
  }
  return false;
}

std::vector<std::string> unused_segments(const std::set<std::string>& before,
                                         const std::string& directory) {
  std::vector<std::string> left;
  for (const auto& name : segments_in(directory)) {
    const auto path = directory + "/" + name;
    struct stat status {};
    if (before.contains(name) || ::stat(path.c_str(), &status) != 0) continue;
    if (status.st_uid != ::getuid() || is_used(path)) continue;
    left.push_back(fmt::format("{} ({} bytes)", path, status.st_size));
  }
  return left;
}

}  // namespace

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::vector<std::string> processes_left(std::chrono::milliseconds patience) {
  auto& clock = base::Clock::system();
  const auto deadline = clock.now() + patience;
  for (;;) {
    reap();
    if (descendants_of(::getpid()).empty()) return {};
    if (clock.now() > deadline) break;
    clock.sleep_for(kPeriod);
  }
  std::vector<std::string> left;
  for (const int pid : descendants_of(::getpid())) {
    left.push_back(described(pid));
    ::kill(pid, SIGKILL);
  }
  reap();
  return left;
}

std::set<std::string> segments_in(const std::string& directory) {
  std::set<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    names.insert(entry.path().filename());
  }
  return names;
}

std::vector<std::string> segments_left(const std::set<std::string>& before,
                                       std::chrono::milliseconds patience,
                                       const std::string& directory) {
  auto& clock = base::Clock::system();
  const auto deadline = clock.now() + patience;
  for (;;) {
    auto left = unused_segments(before, directory);
    if (left.empty() || clock.now() > deadline) return left;
    clock.sleep_for(10 * kPeriod);
  }
}

}  // namespace lockstep::launcher
