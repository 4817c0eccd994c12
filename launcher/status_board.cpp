#include "launcher/status_board.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <utility>

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

StatusBoard::StatusBoard(int ranks) : file_(kName), ranks_(ranks), memory_(MAP_FAILED) {
  if (::ftruncate(file_.descriptor(), static_cast<off_t>(bytes_of(ranks))) == 0) {
    memory_ = map(file_.descriptor(), ranks);
  }
  if (memory_ == MAP_FAILED) {
    throw base::EnvironmentError("shared memory for the ranks' status cannot be had (" +
                                 std::string(std::strerror(errno)) + "); see 'lockstep doctor'");
  }
  for (int rank = 0; rank < ranks; ++rank) {
    new (static_cast<std::byte*>(memory_) + bytes_of(rank)) RankRow;
  }
}

StatusBoard::StatusBoard(MemoryFile file, int ranks, void* memory)
    : file_(std::move(file)), ranks_(ranks), memory_(memory) {}

std::unique_ptr<StatusBoard> StatusBoard::find(
    const std::map<std::string, std::string>& variables) {
  const auto place = variables.find(kBoardVariable);
  if (place == variables.end()) return nullptr;
  auto file = MemoryFile::find(place->second, kName);
  if (!file || file->size() == 0) return nullptr;
  const auto ranks = static_cast<int>(file->size() / kRowBytes);
  void* memory = map(file->descriptor(), ranks);
  if (memory == MAP_FAILED) return nullptr;
  return std::unique_ptr<StatusBoard>(new StatusBoard(std::move(*file), ranks, memory));
}

StatusBoard::~StatusBoard() { ::munmap(memory_, bytes_of(ranks_)); }

RankRow& StatusBoard::row(int rank) {
  LOCKSTEP_EXPECT(0 <= rank && rank < ranks_, "a rank outside the board");
  return *std::launder(
      reinterpret_cast<RankRow*>(static_cast<std::byte*>(memory_) + bytes_of(rank)));
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
