#include "launcher/hang_watch.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

using std::chrono::nanoseconds;

/// A phase that has taken so long may take so many times longer: other work on the machine.
constexpr int kMargin = 20;
constexpr std::chrono::seconds kLeastForSteps{10};
constexpr std::chrono::seconds kLeastForPhases{60};
constexpr int kStepsToLearnFrom = 3;

bool is_stopped(const RankView& rank) { return rank.lives && rank.state == 'T'; }
bool is_traced(const RankView& rank) { return rank.lives && rank.state == 't'; }

std::vector<int> ranks_where(std::span<const RankView> ranks, auto condition) {
  std::vector<int> found;
  for (const auto& rank : ranks) {
    if (condition(rank)) found.push_back(rank.rank);
  }
  return found;
}

}  // namespace

HangWatch::Time HangWatch::allowed(base::Phase phase) const {
  const auto as_time = [](std::chrono::duration<double> seconds) {
    return std::chrono::duration_cast<Time>(seconds);
  };
  if (options_.fixed.count() > 0) return as_time(options_.fixed);
  const auto index = static_cast<std::size_t>(phase);
  const bool step = phase == base::Phase::kStep;
  const auto most = as_time(options_.longest);
  if (changes_[index] < (step ? kStepsToLearnFrom : 1)) return most;
  const Time least = step ? Time(kLeastForSteps) : Time(kLeastForPhases);
  return std::min(most, std::max(least, longest_[index] * kMargin));
}

std::optional<Verdict> HangWatch::look(Time now, std::span<const RankView> ranks) {
  std::vector<Place> places;
  bool traced = false;
  bool lives = false;
  for (const auto& rank : ranks) {
    const bool computes = rank.phase != base::Phase::kStep && rank.waits_in.empty();
    places.push_back({rank.phase, rank.step, computes ? rank.cpu_ticks : 0});
    traced = traced || is_traced(rank);
    lives = lives || rank.lives;
  }
  // A rank in a debugger has all the time it wants; ranks that are not there yet, or no more, do
  // not hang.
  if (!progress_ || traced || !lives || places.size() != places_.size()) {
    progress_ = now;
    places_ = std::move(places);
    return std::nullopt;
  }
  if (places != places_) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i] == places_[i]) continue;
      const auto index = static_cast<std::size_t>(places_[i].phase);
      longest_[index] = std::max(longest_[index], now - *progress_);
      ++changes_[index];
    }
    progress_ = now;
    places_ = std::move(places);
    return std::nullopt;
  }
  // The phase that may take longest counts: one rank saves while the others wait in their step.
  Time may_take{0};
  for (const auto& rank : ranks) {
    if (rank.lives) may_take = std::max(may_take, allowed(rank.phase));
  }
  if (now - *progress_ <= may_take) return std::nullopt;
  return hang_verdict(ranks, now - *progress_);
}

Verdict hang_verdict(std::span<const RankView> ranks, nanoseconds waited) {
  Verdict verdict;
  verdict.cause = "hang";
  verdict.exit_code = static_cast<int>(base::ExitCode::kFailed);
  verdict.advice = "read the ranks' stacks in diagnostics/ of the run, then resume";
  auto late = ranks_where(ranks, is_stopped);
  std::string what = "stopped by a signal";
  if (late.empty()) {
    late = ranks_where(ranks,
                       [](const RankView& rank) { return rank.lives && rank.waits_in.empty(); });
    what = "busy or stuck, and the others wait for it";
  }
  if (late.size() == ranks.size() && late.size() > 1) {
    verdict.message = fmt::format("no rank got any further for {}", base::format_duration(waited));
  } else if (!late.empty()) {
    verdict.message = fmt::format("{} got no further for {} ({})", base::rank_list(late),
                                  base::format_duration(waited), what);
  } else {
    std::set<std::string> operations;
    std::vector<std::string> calls;
    for (const auto& rank : ranks) {
      if (operations.insert(rank.waits_in).second) {
        calls.push_back(fmt::format("rank {} in {}", rank.rank, rank.waits_in));
      }
    }
    verdict.message = fmt::format("all ranks waited for each other for {}: {}",
                                  base::format_duration(waited), base::joined(calls));
    if (operations.size() > 1)
      verdict.advice =
          "the ranks called different operations: report "
          "this bug, with diagnostics/ of the run";
  }
  const auto blamed = late.empty() ? 0 : late.front();
  const auto place = std::ranges::find(ranks, blamed, &RankView::rank);
  if (place != ranks.end()) {
    verdict.rank = place->rank;
    verdict.host = place->host;
    verdict.phase = base::name_of(place->phase);
    verdict.step = place->step;
  }
  return verdict;
}

std::string describe(std::span<const RankView> ranks, nanoseconds waited) {
  auto text = fmt::format("no progress for {}\n", base::format_duration(waited));
  for (const auto& rank : ranks) {
    text += fmt::format(
        "rank {} on host {}: {}, phase {}, step {}, {}\n", rank.rank, rank.host,
        rank.lives ? fmt::format("process state {}", rank.state) : "gone",
        base::name_of(rank.phase), rank.step,
        rank.waits_in.empty() ? "waits for no other rank" : "waits in " + rank.waits_in);
  }
  return text;
}

}  // namespace lockstep::launcher
