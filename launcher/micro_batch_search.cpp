#include "launcher/micro_batch_search.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"
#include "launcher/captured.hpp"
#include "launcher/machine.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::chrono::minutes kPatience{10};

/// As many as a fold of several needs room for.
constexpr std::int64_t kMicroBatchesOfARank = 4;

std::string first_error(const std::string& messages) {
  constexpr std::string_view kMark = "error: ";
  const auto place = messages.find(kMark);
  const auto begin = place == std::string::npos ? 0 : place + kMark.size();
  return messages.substr(begin, messages.find('\n', begin) - begin);
}

/// Removed with all that is in it.
class TrialFolder {
 public:
  TrialFolder() {
    auto pattern = (std::filesystem::temp_directory_path() / "lockstep-trial-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw base::EnvironmentError("no folder can be made for a trial (in " + pattern +
                                   "); set TMPDIR to one that can be written to");
    }
    path_ = pattern;
  }
  ~TrialFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

std::vector<std::int64_t> micro_batch_candidates(std::int64_t global_batch, std::int64_t ranks) {
  std::vector<std::int64_t> found;
  for (std::int64_t count = std::max<std::int64_t>(ranks, 1); count <= global_batch; ++count) {
    if (global_batch % count == 0) found.push_back(global_batch / count);
  }
  return found;
}

std::int64_t largest_that_fits(const std::vector<std::int64_t>& candidates,
                               const std::function<bool(std::int64_t)>& fits) {
  std::size_t begin = 0, end = candidates.size();  // the answer's place is in [begin, end]
  while (begin < end) {
    const auto middle = begin + (end - begin) / 2;
    if (fits(candidates[middle])) {
      end = middle;
    } else {
      begin = middle + 1;
    }
  }
  return begin < candidates.size() ? candidates[begin] : 0;
}

TrialResult try_micro_batch(std::int64_t micro_batch, const MicroBatchTrial& trial) {
  const TrialFolder folder;
  auto words = trial.command;
  const auto count = std::min(trial.global_batch / micro_batch, kMicroBatchesOfARank * trial.ranks);
  // As many as it takes until a GPU's are captured as graphs, which have memory of their own.
  const std::int64_t least = has_nvidia_driver() ? 6 : 2;
  const auto of_a_rank = std::max<std::int64_t>(count / trial.ranks, 1);
  const auto steps = std::max<std::int64_t>(2, (least + of_a_rank - 1) / of_a_rank);
  for (auto&& word : {fmt::format("train.micro_batch={}", micro_batch),
                      fmt::format("train.global_batch={}", count * micro_batch),
                      std::string("train.epochs=0"), fmt::format("train.steps={}", steps),
                      std::string("data.test=[]"), std::string("launch.restarts=0"),
                      std::string("run.name=trial"), "run.directory=\"" + folder.path() + "\""}) {
    words.push_back(word);
  }
  const auto answer = run_captured(words, trial.environment, kPatience);
  if (!answer) {
    throw base::TimeoutError(fmt::format(
        "a trial with micro-batches of {} did not end within 10 minutes (a few steps were to "
        "be computed); set train.micro_batch yourself",
        micro_batch));
  }
  using base::ExitCode;
  const auto code = static_cast<ExitCode>(answer->exit_code);
  // One that diverged had the room to.
  TrialResult result{.fits = code == ExitCode::kDone || code == ExitCode::kDiverged,
                     .words = first_error(answer->errors)};
  for (const auto other : {ExitCode::kUsage, ExitCode::kData, ExitCode::kStopped,
                           ExitCode::kInterrupted, ExitCode::kTerminated}) {
    if (code == other) throw base::Error(code, result.words);
  }
  return result;
}

}  // namespace lockstep::launcher
