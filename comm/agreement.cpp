#include "comm/agreement.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "base/text.hpp"

namespace lockstep::comm {
namespace {

std::string shortened(const std::string& text) {
  constexpr std::size_t kShown = 80;
  return base::quote(text.size() <= kShown ? text : text.substr(0, kShown) + "...");
}

/// The value that most ranks have; of equally frequent ones that of the lowest rank.
const std::string& majority(const std::vector<std::string>& values) {
  std::map<std::string, int> votes;
  for (const auto& value : values) ++votes[value];
  return *std::max_element(values.begin(), values.end(),
                           [&](const auto& a, const auto& b) { return votes[a] < votes[b]; });
}

/// How local work ended, as one text that travels: `+` and its result, or an exit code and the
/// error's message.
std::string outcome_of(const std::function<std::string()>& work) {
  const auto failed = [](base::ExitCode code, const char* message) {
    return std::to_string(static_cast<int>(code)) + " " + message;
  };
  try {
    return "+" + work();
  } catch (const base::CommError&) {
    throw;
  } catch (const base::Error& error) {
    return failed(error.code(), error.what());
  } catch (const std::exception& error) {
    return failed(base::ExitCode::kFailed, error.what());
  }
}

/// The result, or the error with `where` in front.
std::string result_of(const std::string& outcome, const std::string& where) {
  if (outcome.starts_with('+')) return outcome.substr(1);
  const auto code = static_cast<base::ExitCode>(std::stoi(outcome));
  const auto message = where + outcome.substr(outcome.find(' ') + 1);
  if (code == base::ExitCode::kCheckpoint) throw base::CheckpointError(message);
  throw base::Error(code, message);
}

}  // namespace

void together(Communicator& communicator, std::string_view what,
              const std::function<void()>& work) {
  const auto mine = outcome_of([&] {
    work();
    return std::string();
  });
  const auto outcomes = communicator.all_gather_texts(mine, what);
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
    result_of(outcomes[rank], communicator.size() > 1 ? "rank " + std::to_string(rank) + ": " : "");
  }
}

std::string on_first_rank(Communicator& communicator, std::string_view what,
                          const std::function<std::string()>& work) {
  const auto mine = communicator.rank() == 0 ? outcome_of(work) : std::string();
  return result_of(communicator.all_gather_texts(mine, what)[0], "");
}

void require_agreement(Communicator& communicator, std::string_view what, std::string_view mine,
                       base::ExitCode code) {
  const auto values = communicator.all_gather_texts(mine, what);
  const auto hosts = communicator.all_gather_texts(base::host_name(), what);
  const auto& expected = majority(values);
  constexpr std::size_t kShown = 4;
  std::vector<std::string> different;
  for (std::size_t rank = 0; rank < values.size(); ++rank) {
    if (values[rank] == expected) continue;
    different.push_back("rank " + std::to_string(rank) + " (host " + hosts[rank] +
                        ") has another " + std::string(what) + ": " + shortened(values[rank]));
  }
  if (different.empty()) return;
  std::string text = base::joined(std::span(different).first(std::min(different.size(), kShown)));
  if (different.size() > kShown) {
    text += " and " + std::to_string(different.size() - kShown) + " more ranks";
  }
  const std::string message = text + " (most ranks have " + shortened(expected) +
                              ", and a run computes one thing); give all ranks the same " +
                              std::string(what);
  communicator.fail(message, code);
  throw base::CommError(message, code);
}

}  // namespace lockstep::comm
