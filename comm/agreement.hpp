#pragma once
// Ranks that go on together: checks that all hold the same thing (configuration, build, data
// fingerprint) before they compute with it, and local work whose failure is everybody's.

#include <functional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace lockstep::comm {

/// Throws CommError with `code` on all ranks when `mine` (a short text or a digest) is not the same
/// everywhere; it names the ranks and hosts that differ from the majority. `what` is the thing's
/// name for people, as in "configuration". Collective.
void require_agreement(Communicator& communicator, std::string_view what, std::string_view mine,
                       base::ExitCode code = base::ExitCode::kUsage);

/// Runs `work` on every rank. When it threw on any, all ranks throw the lowest such rank's error,
/// with its exit code and, in a group of several, its rank. A CommError goes through as it is:
/// the group has failed and there is nobody to tell. Collective.
void together(Communicator& communicator, std::string_view what, const std::function<void()>& work);

/// Runs `work` on rank 0 alone and returns its text on every rank. What it throws, all throw, with
/// its exit code; a CommError goes through as it is. Collective.
std::string on_first_rank(Communicator& communicator, std::string_view what,
                          const std::function<std::string()>& work);

}  // namespace lockstep::comm
