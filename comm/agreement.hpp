#pragma once
// Checks that all ranks hold the same thing (configuration, build, data fingerprint) before they
// compute with it.

#include <string_view>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace lockstep::comm {

/// Throws CommError with `code` on all ranks when `mine` (a short text or a digest) is not the same
/// everywhere; it names the ranks and hosts that differ from the majority. `what` is the thing's
/// name for people, as in "configuration". Collective.
void require_agreement(Communicator& communicator, std::string_view what, std::string_view mine,
                       base::ExitCode code = base::ExitCode::kUsage);

}  // namespace lockstep::comm
