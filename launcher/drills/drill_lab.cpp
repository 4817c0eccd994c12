#include "launcher/drills/drill_lab.hpp"

#include <fmt/core.h>
#include <stdlib.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "launcher/drills/drilled_command.hpp"
#include "launcher/drills/leftovers.hpp"
#include "launcher/kept_memory.hpp"
#include "launcher/settle_run.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;

constexpr std::chrono::seconds kPatienceForSegments{5};
constexpr std::chrono::milliseconds kPeriod{5};
/// From a launch's end to the end of everything that it has started.
constexpr std::chrono::seconds kTidyPatience{10};

/// 16 micro-batches a step, so that up to kMostDrillRanks ranks have work.
std::string configuration() {
  return fmt::format(
      "model: {{name: mlp, hidden: [64, 64]}}\n"
      "data: {{train: train.h5, test: train.h5}}\n"
      "train: {{steps: {}, global_batch: 64, micro_batch: {}, optimizer: {{name: adamw, lr: "
      "1e-3}}}}\n"
      "evaluate: {{every_steps: {}}}\n"
      "checkpoint: {{every_steps: {}, every_epochs: 0, keep: 2}}\n"
      "launch: {{deadline_seconds: 30}}\n",
      kDrillSteps, 64 / kMostDrillRanks, kDrillEvaluateEvery, kDrillSaveEvery);
}

std::string described(const DrillLaunch& launch) {
  return launch.verb == DrillLaunch::Verb::kTrain ? "train" : "resume";
}

/// The newest checkpoint's parameters.
std::string newest_state_file(base::FileSystem& files, const std::string& checkpoints) {
  std::string newest;
  for (const auto& name : files.list(checkpoints)) {
    if (name.starts_with("step-")) newest = name;
  }
  return newest.empty()
             ? newest
             : base::join_path(base::join_path(checkpoints, newest), "model.safetensors");
}

}  // namespace

DrillLab::DrillLab(DrillLabOptions options) : options_(std::move(options)) {
  auto& files = base::FileSystem::posix();
  files.make_directories(options_.parent);
  folder_ = base::join_path(base::absolute_path(options_.parent), "lockstep-drill-XXXXXX");
  if (::mkdtemp(folder_.data()) == nullptr) {
    const int reason = errno;
    throw base::IoError(fmt::format("no folder can be made in {} ({}); name another one with "
                                    "--directory",
                                    base::quote(options_.parent), std::strerror(reason)),
                        reason);
  }
  adopt_orphans();
  files.write_atomically(base::join_path(folder_, "drill.yaml"), configuration());
}

DrillLab::~DrillLab() = default;

std::string DrillLab::log_path(const Drill& drill) const {
  return base::join_path(folder_, drill.name + ".log");
}

std::string DrillLab::run_path(const Drill& drill) const {
  return base::join_path(base::join_path(folder_, "runs"), drill.name);
}

void DrillLab::remove() { base::FileSystem::posix().remove_all(folder_); }

Observation DrillLab::run(const Drill& drill) {
  auto& files = base::FileSystem::posix();
  const auto& clock = base::Clock::system();
  const auto begin = clock.now();
  Observation observed;
  for (const auto& launch : drill.launches) {
    damage(drill, launch);
    if (!follow(drill, launch, observed)) break;
  }
  if (files.is_directory(run_path(drill))) observed.run = read_run(files, run_path(drill));
  if (files.file_size(log_path(drill))) observed.messages = files.read_text(log_path(drill));
  observed.took = clock.now() - begin;
  return observed;
}

/// Whether the drill goes on.
bool DrillLab::follow(const Drill& drill, const DrillLaunch& launch, Observation& observed) {
  auto& clock = base::Clock::system();
  const auto segments = segments_in();
  std::vector<std::string> argv{options_.lockstep, described(launch)};
  if (launch.verb == DrillLaunch::Verb::kTrain) {
    argv.insert(argv.end(), {"drill.yaml", "--name", drill.name});
    argv.insert(argv.end(), launch.overrides.begin(), launch.overrides.end());
  } else {
    argv.push_back(drill.name);
  }
  argv.insert(argv.end(), {"--ranks", std::to_string(launch.ranks)});

  bool in_time = true;
  {
    DrilledCommand command({argv, environment_for(launch), folder_, log_path(drill)});
    const auto deadline = clock.now() + options_.patience;
    auto signal = launch.signal;
    while (!command.ended()) {
      if (signal && command.is_at(signal->phase, signal->step)) {
        command.signal(signal->number);
        signal.reset();
      }
      if (stop_.requests() > 0) {
        throw base::Error(
            stop_.first_signal() == SIGINT ? ExitCode::kInterrupted : ExitCode::kTerminated,
            fmt::format("stopped in drill '{}' (it was asked to); its files are in {}, remove them",
                        drill.name, base::quote(folder_)));
      }
      if (clock.now() > deadline) {
        observed.late = fmt::format("'lockstep {}' was not done after {}", described(launch),
                                    base::format_duration(options_.patience));
        if (signal) {
          observed.late += fmt::format(", and no rank had come to phase {} with {} steps",
                                       base::name_of(signal->phase), signal->step);
        }
        in_time = false;
        break;
      }
      clock.sleep_for(kPeriod);
    }
    if (in_time) {
      observed.exit_codes.push_back(command.ended().value());
      if (signal) {
        observed.late =
            fmt::format("'lockstep {}' ended before a rank had come to phase {} with {} steps",
                        described(launch), base::name_of(signal->phase), signal->step);
        in_time = false;
      }
    }
  }
  for (auto& process : processes_left(kTidyPatience)) {
    observed.leftovers.push_back(std::move(process));
  }
  for (auto& segment : segments_left(segments, kPatienceForSegments))
    observed.leftovers.push_back(std::move(segment));
  return in_time;
}

std::map<std::string, std::string> DrillLab::environment_for(const DrillLaunch& launch) const {
  auto environment = options_.environment;
  for (const char* name :
       {"LOCKSTEP_FAULT", kAttemptVariable, kBoardVariable, kKeptMemoryVariable}) {
    environment.erase(name);
  }
  if (!launch.fault.empty()) environment["LOCKSTEP_FAULT"] = launch.fault;
  // What runs keep for later runs of the same data would stay behind.
  environment["XDG_CACHE_HOME"] = base::join_path(folder_, "cache");
  return environment;
}

void DrillLab::damage(const Drill& drill, const DrillLaunch& launch) const {
  if (launch.damage == DrillLaunch::Damage::kNone) return;
  auto& files = base::FileSystem::posix();
  const auto path = newest_state_file(files, base::join_path(run_path(drill), "checkpoints"));
  const auto size = path.empty() ? std::nullopt : files.file_size(path);
  if (!size) return;  // the drill's run tells
  std::byte flipped{};
  files.read_at(path, *size / 2, {&flipped, 1});
  flipped ^= std::byte{1};
  files.open(path, base::OpenMode::kExisting)->write_at(*size / 2, {&flipped, 1});
}

}  // namespace lockstep::launcher
