#pragma once
// A rank's command line and what it knows of itself, and the commands that ranks run. Parts of
// lockstep-worker alone. One thread.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/log.hpp"
#include "base/stop_signal.hpp"
#include "configs/reader.hpp"
#include "launcher/status_board.hpp"
#include "launcher/terminal.hpp"
#include "launcher/worker_session.hpp"
#include "trainer/assembly.hpp"
#include "trainer/gpu_module.hpp"

namespace lockstep::launcher {

inline base::FileSystem& files() { return base::FileSystem::posix(); }

enum class Verb {
  kTrain,
  kResume,
  kEvaluate,
  kPredict,
  kReplay,
  kDescribe,
  kDevices,
  kBenchComm,
  kForget
};

struct Arguments {
  Verb verb = Verb::kTrain;
  std::string target;  ///< configuration, run or checkpoint
  std::vector<std::string> overrides;
  std::string run_dir;
  std::string output;
  trainer::TrialLimits limits;
  bool save_only = false;  ///< of kResume
  bool anomaly = false;    ///< of kTrain, as the two below, and of kReplay
  std::string profile;     ///< steps, or empty
  std::optional<int> gdb;  ///< rank that waits for a debugger
  std::string top_k;
  std::string roc_auc = "auto";
  std::vector<std::string> least, most;  ///< gates of an evaluation
  bool probabilities = false;
  bool classes = false;
  std::int64_t step = 0;
  std::int64_t micro_batch = -1;
  std::string sizes = "4K:64M";
  bool json = false;
};

/// What every command has after start-up.
struct Worker {
  Arguments arguments;
  std::vector<std::string> command;  ///< as typed
  std::map<std::string, std::string> environment;
  base::LaunchedAs launched;
  configs::LoadedConfig loaded;
  std::string run_path;         ///< of the run that is written or read
  std::string checkpoint_path;  ///< when one was named
  std::uint64_t events_start = 0;
  std::string writer;                  ///< the process of rank 0, see checkpoints::holder_of
  std::unique_ptr<StatusBoard> board;  ///< of the supervisor, null without one on this host
  RankRow own_row;                     ///< where there is no board
  std::optional<base::StopSignal> stop;
  Style style;
  trainer::GpuModule* gpus = nullptr;              ///< null unless a GPU may be used
  std::vector<trainer::GpuInfo> gpus_seen;         ///< by this process
  std::unique_ptr<trainer::DeviceContext> device;  ///< where this rank computes; null: the CPU
  std::string device_name;                         ///< its model
  std::string device_problem;                      ///< why a GPU that is there is not used

  RankRow& row() { return board ? board->row(launched.rank) : own_row; }
  base::Position& position() { return row().position; }

  bool writes_run() const {
    return arguments.verb == Verb::kTrain || arguments.verb == Verb::kResume;
  }
  bool stops_on_request() const { return writes_run() || arguments.verb == Verb::kPredict; }
  /// A supervisor shows failures and the end card itself.
  bool supervised() const { return environment.contains(kTerminalVariable); }
};

/// The verbs train and resume. Collective.
base::ExitCode train(Worker& worker, WorkerSession& session, base::Log& log);

// Verbs that read a run and change nothing in it. Collective.
base::ExitCode evaluate(Worker& worker, WorkerSession& session);
base::ExitCode predict(Worker& worker, WorkerSession& session, base::Log& log);
base::ExitCode replay(Worker& worker, WorkerSession& session);

}  // namespace lockstep::launcher
