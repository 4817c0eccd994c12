#pragma once
// One run on disk: its folder, the record of what it is (run.json), and the lock that keeps two
// trainers from writing one run. Paths and names as the interface promises them.
// One process writes a run at a time; one thread.

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "checkpoints/step_anatomy.hpp"

namespace lockstep::checkpoints {

/// One of the data files that a run reads.
struct DataRecord {
  std::string path;
  std::string fingerprint;
  std::int64_t samples = 0;
};

struct WorldSizeChange {
  std::int64_t step = 0;
  int world_size = 1;
};

/// run.json.
struct RunRecord {
  std::string id;  ///< 32 hexadecimal digits, random
  std::string name;
  std::string parent;  ///< run or checkpoint that this one comes from, or empty
  std::vector<std::string> command;
  std::string commit = "unknown";
  bool dirty = false;  ///< dirty.patch holds the difference
  std::string build_id;
  std::string config_hash;
  std::map<std::string, DataRecord> data;  ///< `train`, `test`
  std::int64_t seed = 0;
  std::vector<std::string> hosts;
  std::map<std::string, std::string> versions;
  std::vector<WorldSizeChange> world_sizes;
  std::string status = "running";  ///< running, done, failed, stopped, diverged
  int exit_code = -1;              ///< -1 while it runs
  std::string started;
  std::string ended;
  std::int64_t step = 0;
  double epoch = 0;
  std::string state_digest;
  std::map<std::string, double> metrics;
  int restarts = 0;
  StepAnatomy step_anatomy{};  ///< since the newest start
};

/// Time from the run's start to `wall`, the time of day; zero when the record does not tell it.
std::chrono::duration<double> age_of(const RunRecord& record, std::chrono::nanoseconds wall);

std::string to_json(const RunRecord& record);
/// Throws CheckpointError naming `path` when it does not parse.
RunRecord parse_run_record(const std::string& text, const std::string& path);

class RunDirectory {
 public:
  /// Makes `base/name` with its folders, and `base/latest`. An empty name gets two words.
  /// Throws ConfigError when the name is taken or no file name.
  static RunDirectory create(base::FileSystem& files, const std::string& base,
                             const std::string& name);
  /// `run` is a path, or a name or `latest` in `base`. Throws CheckpointError with the nearest
  /// name when there is none.
  static RunDirectory open(base::FileSystem& files, const std::string& base,
                           const std::string& run);

  const std::string& path() const { return path_; }
  std::string name() const;
  std::string record_path() const { return join("run.json"); }
  std::string config_path() const { return join("config.yaml"); }
  std::string overrides_path() const { return join("overrides.txt"); }
  std::string patch_path() const { return join("dirty.patch"); }
  std::string ledger_path() const { return join("ledger.jsonl"); }
  std::string metrics_path() const { return join("metrics.jsonl"); }
  std::string events_path() const { return join("events.jsonl"); }
  std::string checkpoints_path() const { return join("checkpoints"); }
  /// `logs/rank_00007.jsonl`
  std::string log_path(int rank) const;
  std::string health_folder() const { return join("health"); }
  std::string health_path(const std::string& host) const {
    return join("health/" + host + ".json");
  }
  /// Folder for what is found out about a run that hangs; made when there is something.
  std::string diagnostics_path() const { return join("diagnostics"); }
  std::string stack_path(int rank) const;
  /// Of a rank's GPU, when it had no room: `diagnostics/rank_00007.memory.pickle`.
  std::string memory_path(int rank) const;
  /// `profiles/rank_00007.json`
  std::string profile_path(int rank) const;

  RunRecord read_record() const;
  /// Durable and atomic.
  void write_record(const RunRecord& record) const;

 private:
  RunDirectory(base::FileSystem& files, std::string path)
      : files_(&files), path_(std::move(path)) {}
  std::string join(const std::string& name) const { return base::join_path(path_, name); }

  base::FileSystem* files_;  // never null; a pointer so that the object can be moved
  std::string path_;
};

/// A run, or one of its checkpoints, as people name it.
struct RunTarget {
  RunDirectory run;
  std::string checkpoint;  ///< absolute path; empty when the run itself was named
};

/// `target` is the path of a checkpoint, or what RunDirectory::open takes. Throws CheckpointError
/// when it is neither.
RunTarget open_target(base::FileSystem& files, const std::string& base, const std::string& target);

/// While it exists, this process is the one that writes the run.
class RunLock {
 public:
  /// Throws EnvironmentError naming the holder when another process has it.
  explicit RunLock(const RunDirectory& run);
  ~RunLock();
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;

 private:
  int descriptor_ = -1;
};

/// While it exists, somebody starts the run's ranks again when they end: between two launches
/// nobody holds the lock. Any number of processes may be it.
class RunMinder {
 public:
  explicit RunMinder(const RunDirectory& run);
  ~RunMinder();
  RunMinder(const RunMinder&) = delete;
  RunMinder& operator=(const RunMinder&) = delete;

 private:
  int descriptor_ = -1;
};

/// Whether a run whose record says `running` is: somebody writes or minds it, or it began less
/// than 20 seconds before `wall` and may not have come to that yet.
bool is_running(const RunDirectory& run, const RunRecord& record, std::chrono::nanoseconds wall);

/// Throws EnvironmentError naming the holder when a process writes the run now.
void require_free(const RunDirectory& run);
/// Who writes the run now, as `process 12 on host a`; empty when nobody does.
std::string holder_of(const RunDirectory& run);
/// The calling process, likewise.
std::string this_holder();

/// 32 random hexadecimal digits.
std::string fresh_id();

}  // namespace lockstep::checkpoints
