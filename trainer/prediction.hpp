#pragma once
// Outputs of a model for every sample of a dataset, in the dataset's order, in one HDF5 file whose
// bytes depend neither on the number of ranks nor on how often the command was killed on the way.
// Used by `predict`. One rank, one thread.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "data/source.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

/// What is written for the model's outputs.
enum class Answer {
  kOutputs,        ///< dataset `predictions`: as they are
  kProbabilities,  ///< dataset `probabilities`: their softmax over the classes
};
/// Dataset `classes`: the class with the largest output, of equal ones the lowest.
enum class AnswerClasses { kNo, kYes };

struct PredictionOptions {
  std::string output;
  Answer answer = Answer::kOutputs;
  AnswerClasses classes = AnswerClasses::kNo;
  std::int64_t batch = 256;  ///< samples of one forward pass; part of the bits
  /// One line that tells model, data and settings: rows that an earlier command left are used only
  /// when its line is the same. Rank 0's counts.
  std::string identity;
  /// Rows are made durable when so much time has gone or so many bytes have come since the last.
  std::chrono::nanoseconds commit_period = std::chrono::seconds(1);
  std::size_t commit_bytes = std::size_t{64} << 20;
  const base::Clock& clock = base::Clock::system();
  std::function<int()> stop_requests = [] { return 0; };  ///< so far, on this rank
  std::function<void(const std::string&)> tell = [](const std::string&) {};  ///< on rank 0
};

struct PredictionOutcome {
  base::ExitCode code = base::ExitCode::kDone;  ///< kDone or kStopped
  std::int64_t samples = 0;
  std::int64_t committed = 0;  ///< samples whose outputs are durable
};

/// Writes `output` on rank 0: f32 [samples, ...] of the model's outputs, and i64 [samples, ...] of
/// classes. Until it is complete its rows lie beside it in `.NAME.partial` and `.NAME.journal`,
/// from which the same command goes on after a kill, a failure, or the first request to stop, which
/// is answered with kStopped; a second one throws Error with kTerminated. Throws ConfigError when
/// probabilities or classes of a regression are wanted, IoError or DataError. Collective.
PredictionOutcome predict(RankGroup group, ParameterSpace& space, data::SampleSource& source,
                          const PredictionOptions& options);

}  // namespace lockstep::trainer
