#include "launcher/drills/drill.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <csignal>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

using base::ExitCode;
using base::Phase;
using State = DrillExpectation::State;
using Verb = DrillLaunch::Verb;

constexpr int code_of(ExitCode code) { return static_cast<int>(code); }

/// `kill rank=1 phase=step step=33`
std::string fault(const char* kind, int rank, Phase phase, std::int64_t step,
                  const std::string& more = "") {
  return fmt::format("{} rank={} phase={} step={}{}", kind, rank, base::name_of(phase), step, more);
}

/// A run in which ranks die and that starts again by itself.
Drill with_fault(const char* name, const char* summary, int ranks, std::string text,
                 DrillExpectation expectation = {.restarts = 1, .cause = "killed"}) {
  return {name, summary, {{.ranks = ranks, .fault = std::move(text)}}, std::move(expectation)};
}

std::string kill_all(int ranks) {
  std::string text;
  for (int rank = 0; rank < ranks; ++rank) text += fault("kill", rank, Phase::kStep, 33, "; ");
  return text;
}

}  // namespace

std::vector<Drill> all_drills(int ranks) {
  const int last = ranks - 1;
  std::vector<Drill> drills{
      with_fault("kill-start", "kill -9 of a rank while it starts", ranks,
                 fault("kill", last, Phase::kStart, 0)),
      with_fault("kill-step", "kill -9 of a rank between two checkpoints", ranks,
                 fault("kill", last, Phase::kStep, 33)),
      with_fault("kill-evaluation", "kill -9 of a rank while it evaluates", ranks,
                 fault("kill", last, Phase::kEvaluation, 40)),
      with_fault("kill-save", "kill -9 of the first rank as it begins to save", ranks,
                 fault("kill", 0, Phase::kSave, 40)),
      with_fault("kill-restore",
                 "kill -9 of a rank, and of the first one while the run is brought back", ranks,
                 fault("kill", last, Phase::kStep, 33) + "; kill rank=0 phase=restore attempt=1",
                 {.restarts = 2, .cause = "killed"}),
      with_fault("kill-end", "kill -9 of the first rank after the last step", ranks,
                 fault("kill", 0, Phase::kEnd, kDrillSteps)),
      with_fault("kill-node", "kill -9 of all ranks of a node at once", ranks, kill_all(ranks)),
      with_fault("crash", "a segmentation fault in a rank", ranks,
                 fault("segfault", last, Phase::kStep, 33)),
  };

  auto lost_memory =
      with_fault("lost-memory", "kill -9 of a rank, with the state in shared memory lost", ranks,
                 fault("kill", last, Phase::kStep, 33));
  lost_memory.launches[0].overrides = {"checkpoint.in_memory=false"};
  lost_memory.expectation.least_repeated = 3;
  drills.push_back(std::move(lost_memory));

  auto freeze =
      with_fault("freeze", "SIGSTOP to a rank: it lives and does nothing", ranks,
                 fault("freeze", last, Phase::kStep, 33), {.restarts = 1, .cause = "hang"});
  freeze.launches[0].overrides = {"launch.hang_seconds=4"};
  drills.push_back(std::move(freeze));

  drills.push_back(with_fault("slow-rank", "a rank that sleeps 20 ms in every step", ranks,
                              fmt::format("slow rank={} phase=step milliseconds=20", last),
                              {.straggler = ranks > 1 ? last : -1}));

  drills.push_back({"stop-while-saving",
                    "SIGTERM while a checkpoint is written, then resume on other ranks",
                    {{.ranks = ranks,
                      .fault = fault("slow", 0, Phase::kSave, 40, " milliseconds=1000"),
                      .signal = DrillSignal{SIGTERM, Phase::kSave, 40},
                      .exit_code = code_of(ExitCode::kStopped)},
                     {.verb = Verb::kResume, .ranks = ranks > 1 ? last : 2}}});

  drills.push_back({"kill-supervisor",
                    "kill -9 of 'lockstep' itself, then resume",
                    {{.ranks = ranks,
                      .fault = fault("slow", 0, Phase::kStep, 33, " milliseconds=3000"),
                      .signal = DrillSignal{SIGKILL, Phase::kStep, 33},
                      .exit_code = 128 + SIGKILL},
                     {.verb = Verb::kResume, .ranks = ranks}}});

  drills.push_back(
      {"flipped-byte",
       "a run fails, and a byte of its newest checkpoint is flipped before it is resumed",
       {{.ranks = ranks,
         .fault = fault("kill", last, Phase::kStep, 47),
         .overrides = {"launch.restarts=0"},
         .exit_code = code_of(ExitCode::kFailed)},
        {.verb = Verb::kResume, .ranks = ranks, .damage = DrillLaunch::Damage::kFlippedByte}},
       {.cause = "killed", .says = "passed over", .least_repeated = 17}});

  drills.push_back(with_fault("disk-full", "no space left while a checkpoint is written", ranks,
                              fault("disk-full", last, Phase::kSave, 40),
                              {.event = "checkpoint_failed", .says = "No space left on device"}));

  drills.push_back(
      {"nan",
       "a sample that is no number: starting again could not help",
       {{.ranks = ranks,
         .overrides = {"data.train=nan.h5"},
         .exit_code = code_of(ExitCode::kData)}},
       {.status = "failed", .state = State::kAny, .cause = "data", .says = "has nan in row"}});

  drills.push_back({"diverge",
                    "a learning rate at which no number stays finite: likewise",
                    {{.ranks = ranks,
                      .overrides = {"train.optimizer.lr=1e30"},
                      .exit_code = code_of(ExitCode::kDiverged)}},
                    {.status = "diverged", .state = State::kAny, .cause = "diverged"}});
  return drills;
}

std::vector<Drill> choose_drills(std::vector<Drill> all, std::span<const std::string> names) {
  if (names.empty()) return all;
  std::vector<std::string> known;
  for (const auto& drill : all) known.push_back(drill.name);
  for (const auto& name : names) {
    if (std::ranges::find(known, name) != known.end()) continue;
    const auto nearest = base::nearest_name(name, known);
    throw base::ConfigError(fmt::format(
        "there is no drill {} (there are {}); {}", base::quote(name), base::joined(known),
        nearest ? fmt::format("did you mean '{}'?", *nearest) : "name one of them"));
  }
  std::erase_if(
      all, [&](const Drill& drill) { return std::ranges::find(names, drill.name) == names.end(); });
  return all;
}

}  // namespace lockstep::launcher
