#pragma once
// How a worker fails: the first reason is told once, to the other ranks, to the run's files and to
// people, whichever ranks notice.

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "base/position.hpp"

namespace lockstep::launcher {

/// What a rank knows of its failure.
struct FailureNote {
  int rank = 0;
  std::string host;
  base::Phase phase = base::Phase::kStart;
  std::int64_t step = 0;  ///< finished steps
  std::string message;
  base::ExitCode code = base::ExitCode::kFailed;
};

/// A short class of causes for programs: `data`, `config`, `checkpoint`, `environment`,
/// `diverged`, `stopped`, `failed`.
const char* cause_of(base::ExitCode code);

/// Notes the failure in the run's events and record unless another rank has since byte
/// `events_start` of the events. Says whether this rank was the first. Never throws: it runs while
/// things are broken.
bool note_first_failure(base::FileSystem& files, const std::string& run_path,
                        std::uint64_t events_start, const FailureNote& note) noexcept;

/// `rank 3 on host b, phase step, step 17: message`; without the place when there is one rank.
std::string describe(const FailureNote& note, int world_size);

}  // namespace lockstep::launcher
