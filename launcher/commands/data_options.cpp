#include "launcher/commands/data_options.hpp"

#include <CLI/CLI.hpp>

#include "base/environment.hpp"

namespace lockstep::launcher {
namespace {

constexpr int kMostThreads = 256;

}  // namespace

DataOptions::DataOptions() : threads_(base::available_cores()) {}

void DataOptions::declare_threads(CLI::App& app) {
  app.add_option("--threads", threads_, "that read; the result is the same with any number")
      ->check(CLI::Range(1, kMostThreads))
      ->type_name("N");
}

void DataOptions::declare_cache(CLI::App& app) {
  app.add_flag("--no-cache", no_cache_, "compute anew, and keep nothing in ~/.cache/lockstep");
}

std::string DataOptions::cache_directory(const Session& session) const {
  return no_cache_ ? std::string() : base::cache_directory(session.environment);
}

}  // namespace lockstep::launcher
