#include "launcher/status_board.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstring>
#include <new>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

constexpr char kName[] = "lockstep-board";
constexpr std::size_t kRowBytes = 256;
static_assert(sizeof(RankRow) <= kRowBytes);
static_assert(alignof(RankRow) <= 64);

constexpr std::array kFatal{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

RankRow* noted_row = nullptr;  // of this process, see note_fatal_signals
std::array<struct sigaction, NSIG> former_actions{};

std::size_t bytes_of(int ranks) { return static_cast<std::size_t>(ranks) * kRowBytes; }

void* map(int descriptor, int ranks) {
  return ::mmap(nullptr, bytes_of(ranks), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
}

/// Notes the signal, puts the former handler back and lets the signal come again.
void on_fatal_signal(int number) {
  noted_row->note({Ending::Kind::kSignal, number});
  ::sigaction(number, &former_actions[static_cast<std::size_t>(number)], nullptr);
  ::raise(number);
}

}  // namespace

StatusBoard::StatusBoard(int ranks)
    : descriptor_(::memfd_create(kName, MFD_CLOEXEC)), ranks_(ranks), memory_(MAP_FAILED) {
  if (descriptor_ >= 0 && ::ftruncate(descriptor_, static_cast<off_t>(bytes_of(ranks))) == 0) {
    memory_ = map(descriptor_, ranks);
  }
  if (memory_ == MAP_FAILED) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    throw base::EnvironmentError("shared memory for the ranks' status cannot be had (" + reason +
                                 "); see 'lockstep doctor'");
  }
  for (int rank = 0; rank < ranks; ++rank) {
    new (static_cast<std::byte*>(memory_) + bytes_of(rank)) RankRow;
  }
}

StatusBoard::StatusBoard(int descriptor, int ranks, void* memory)
    : descriptor_(descriptor), ranks_(ranks), memory_(memory) {}

std::unique_ptr<StatusBoard> StatusBoard::find(
    const std::map<std::string, std::string>& variables) {
  const auto place = variables.find(kBoardVariable);
  if (place == variables.end()) return nullptr;
  const auto& path = place->second;
  // On another host the same path may be anything; only a board has this name.
  std::array<char, PATH_MAX> target{};
  if (::readlink(path.c_str(), target.data(), target.size() - 1) < 0) return nullptr;
  if (std::string(target.data()) != std::string("/memfd:") + kName + " (deleted)") return nullptr;
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return nullptr;
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && status.st_size > 0) {
    const auto ranks = static_cast<int>(static_cast<std::size_t>(status.st_size) / kRowBytes);
    void* memory = map(descriptor, ranks);
    if (memory != MAP_FAILED) {
      return std::unique_ptr<StatusBoard>(new StatusBoard(descriptor, ranks, memory));
    }
  }
  ::close(descriptor);
  return nullptr;
}

StatusBoard::~StatusBoard() {
  ::munmap(memory_, bytes_of(ranks_));
  ::close(descriptor_);
}

RankRow& StatusBoard::row(int rank) {
  LOCKSTEP_EXPECT(0 <= rank && rank < ranks_, "a rank outside the board");
  return *std::launder(
      reinterpret_cast<RankRow*>(static_cast<std::byte*>(memory_) + bytes_of(rank)));
}

std::string StatusBoard::address() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(descriptor_);
}

void note_fatal_signals(RankRow& row) {
  noted_row = &row;
  for (const int number : kFatal) {
    struct sigaction action {};
    action.sa_handler = on_fatal_signal;
    action.sa_flags = SA_ONSTACK;
    struct sigaction former {};
    ::sigaction(number, &action, &former);
    if (former.sa_handler != on_fatal_signal) {
      former_actions[static_cast<std::size_t>(number)] = former;
    }
  }
}

}  // namespace lockstep::launcher
