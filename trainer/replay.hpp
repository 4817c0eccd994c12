#pragma once
// A step of a run once more, on one process, from the checkpoint before it: the same bits as the
// ledger has, or the first step whose bits differ. Used by the worker's `replay`. One thread.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.hpp"
#include "base/position.hpp"
#include "checkpoints/run_directory.hpp"
#include "configs/run_config.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

struct ReplayOptions {
  const configs::RunConfig& config;
  std::string config_hash;
  std::string cache_directory;
  checkpoints::RunDirectory run;
  base::FileSystem& files;
  std::int64_t step = 1;            ///< as the ledger counts, from 1
  std::int64_t micro_batch = -1;    ///< whose loss and samples are wanted, or negative
  DeviceContext* device = nullptr;  ///< where the run was computed as well
  bool anomaly = false;             ///< see TrainerOptions::anomaly; in the step asked for
};

struct ReplayedStep {
  std::int64_t step = 0;
  double loss = 0, recorded_loss = 0;
  double gradient_norm = 0, recorded_gradient_norm = 0;
  bool skipped = false;
  bool diverged = false;  ///< and ended the run: the ledger does not have it, the events do
  bool same() const;      ///< bit for bit; what is no number is all the same
};

struct ReplayReport {
  std::string from;  ///< path of a checkpoint, or `start`
  std::int64_t from_step = 0;
  std::vector<ReplayedStep> steps;                  ///< from there to the step asked for
  std::string state_digest, recorded_state_digest;  ///< the latter empty where none was taken
  std::optional<double> micro_batch_loss;
  std::vector<std::int64_t> samples;  ///< of the step, or of the micro-batch asked for
  bool same() const;
};

/// The last step may be the one that diverged and ended the run, which the ledger does not have.
/// `group` has one rank. Throws ConfigError for a step or micro-batch that the run does not have,
/// CheckpointError when the ledger or a checkpoint is damaged.
ReplayReport replay(const ReplayOptions& options, RankGroup group, base::Position& position);

std::string to_json(const ReplayReport& report);

}  // namespace lockstep::trainer
