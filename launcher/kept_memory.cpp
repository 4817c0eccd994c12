#include "launcher/kept_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "base/held_path.hpp"
#include "base/text.hpp"
#include "checkpoints/run_directory.hpp"

namespace lockstep::launcher {
namespace {

constexpr char kName[] = "lockstep-state";
constexpr char kFolder[] = "/dev/shm";
/// In front of the supervisor's word; a path does not begin so.
constexpr char kMark = '@';
/// From one launch of a run to the next one nobody has its files.
constexpr std::chrono::minutes kAbandoned{10};

/// `lockstep-state-WORD-`
std::string prefix_of(const std::string& word) { return std::string(kName) + "-" + word + "-"; }

/// Of this run, or, without a word, of all runs.
std::vector<std::string> files_of(const std::string& word) {
  return base::paths_with_prefix(kFolder,
                                 word.empty() ? std::string(kName) + "-" : prefix_of(word));
}

/// Opened and held; -1 when it cannot be. Once more when somebody removed it in between.
int open_held(const std::string& path, bool makes) {
  for (;;) {
    const int descriptor =
        ::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | (makes ? O_CREAT : 0), 0600);
    if (descriptor < 0) return -1;
    struct stat mine {
    }, there{};
    if (base::hold(descriptor, base::Hold::kShared) && ::fstat(descriptor, &mine) == 0 &&
        ::stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino) {
      return descriptor;
    }
    ::close(descriptor);
    if (!makes) return -1;
  }
}

std::string word_in(const std::map<std::string, std::string>& variables) {
  const auto place = variables.find(kKeptMemoryVariable);
  if (place == variables.end() || place->second.empty() || place->second.front() != kMark)
    return {};
  const auto word = place->second.substr(1);
  return word.find('/') == std::string::npos ? word : std::string();
}

}  // namespace

KeptMemory KeptMemory::here(int nodes) {
  KeptMemory memory;
  for (int node = 0; node < nodes; ++node) memory.files_.emplace_back(kName);
  return memory;
}

KeptMemory KeptMemory::elsewhere() {
  KeptMemory memory;
  memory.word_ = checkpoints::fresh_id();
  return memory;
}

std::string KeptMemory::addresses() const {
  if (is_elsewhere()) return kMark + word_;
  std::vector<std::string> addresses;
  for (const auto& file : files_) addresses.push_back(file.address());
  return base::joined(addresses, ":");
}

NodeKeptMemory::NodeKeptMemory(const std::map<std::string, std::string>& variables, int node,
                               bool makes) {
  const auto place = variables.find(kKeptMemoryVariable);
  if (place == variables.end() || node < 0) return;
  const auto word = word_in(variables);
  if (word.empty()) {
    const auto addresses = base::split(place->second, ':');
    if (static_cast<std::size_t>(node) >= addresses.size()) return;
    const auto& address = addresses[static_cast<std::size_t>(node)];
    if (is_memory_file(address, kName)) path_ = address;
    return;
  }
  const auto path = std::string(kFolder) + "/" + prefix_of(word) + std::to_string(node);
  descriptor_ = open_held(path, makes);
  if (descriptor_ < 0) return;
  word_ = word;
  path_ = path;
  keep();
  if (!makes) return;
  // Those of runs whose supervisor was killed with all its ranks; this one is held.
  for (const auto& other : files_of("")) base::remove_unheld(other, kAbandoned);
}

NodeKeptMemory::~NodeKeptMemory() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void NodeKeptMemory::keep() const {
  if (descriptor_ >= 0) ::futimens(descriptor_, nullptr);
}

void NodeKeptMemory::remove_strays() const {
  if (word_.empty()) return;
  for (const auto& path : files_of(word_)) base::remove_unheld(path, std::chrono::seconds(0));
}

void forget_kept_memory(const std::map<std::string, std::string>& variables) {
  const auto word = word_in(variables);
  if (word.empty()) return;
  for (const auto& path : files_of(word)) ::unlink(path.c_str());
}

}  // namespace lockstep::launcher
