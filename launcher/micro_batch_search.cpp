#include "launcher/micro_batch_search.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "launcher/captured.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::chrono::minutes kPatience{10};

/// As many as a fold of several needs room for.
constexpr std::int64_t kMicroBatches = 4;

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

bool has_room_for(std::int64_t micro_batch, const MicroBatchTrial& trial) {
  const TrialFolder folder;
  auto words = trial.worker;
  const auto add = [&](std::string word) { words.push_back(std::move(word)); };
  add(fmt::format("train.micro_batch={}", micro_batch));
  add(fmt::format("train.global_batch={}",
                  std::min(trial.global_batch, kMicroBatches * micro_batch)));
  add("data.test=[]");
  add("launch.ranks=1");
  add("run.name=trial");
  add("run.directory=\"" + folder.path() + "\"");
  add("--fast-dev-run");
  add("1");
  const auto answer = run_captured(words, trial.environment, kPatience);
  if (!answer) {
    throw base::TimeoutError(fmt::format(
        "a trial step with micro-batches of {} did not end within 10 minutes (it ran '{}'); set "
        "train.micro_batch yourself",
        micro_batch, words.front()));
  }
  if (answer->exit_code == 0) return true;
  constexpr int kKilledForMemory = 128 + 9;
  if (answer->exit_code == kKilledForMemory) return false;
  const bool memory = answer->exit_code == static_cast<int>(base::ExitCode::kEnvironment) &&
                      answer->errors.find("memory ran out") != std::string::npos;
  if (memory) return false;
  const auto begin = answer->errors.find("error: ");
  const auto words_of_it =
      begin == std::string::npos ? answer->errors : answer->errors.substr(begin + 7);
  throw base::Error(static_cast<base::ExitCode>(answer->exit_code),
                    words_of_it.substr(0, words_of_it.find('\n')));
}

}  // namespace lockstep::launcher
