#include "comm/mpi_channel.hpp"

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <map>
#include <mutex>

namespace lockstep::comm {
namespace {

using std::chrono::steady_clock;

constexpr int kTag = 0;
constexpr std::chrono::milliseconds kNoticePatience{500};

enum class Kind : int { kFailure, kRollCall, kAnswer };

/// Fixed size, so that one posted receive fits every message.
struct Message {
  Kind kind;
  int rank;  ///< kFailure: who failed; otherwise who sends
  int code;
  MpiChannel::Place place;  ///< kAnswer
  std::array<char, 2008> text;
};
static_assert(sizeof(Message) == 2048);

Message make_message(Kind kind, int rank, int code, std::string_view text) {
  Message message{.kind = kind, .rank = rank, .code = code, .place = {}, .text = {}};
  const auto length = std::min(text.size(), message.text.size() - 1);
  std::copy_n(text.begin(), length, message.text.begin());
  return message;
}

}  // namespace

void check_mpi(int result, std::string_view call) {
  if (result == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(result, text.data(), &length);
  throw base::CommError(std::string(call) + " failed (" + text.data() +
                        "); see the messages of MPI above, and 'lockstep doctor'");
}

struct MpiChannel::State {
  struct Outgoing {
    Message message;
    std::vector<MPI_Request> requests;
  };

  std::shared_ptr<FailureRecord> record;  // of the communicators that share this channel
  std::mutex mutex;                       // guards everything below
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  Message incoming{};
  MPI_Request receive = MPI_REQUEST_NULL;
  std::list<Outgoing> outgoing;
  Place place;          // of the operation under way
  std::string current;  // its description, empty when there is none
  std::map<int, Answer> answers;
  std::vector<std::vector<std::byte>> abandoned;

  void post_receive() {
    check_mpi(MPI_Irecv(&incoming, sizeof incoming, MPI_BYTE, MPI_ANY_SOURCE, kTag, comm, &receive),
              "MPI_Irecv");
  }

  Outgoing& send(const Message& message, std::span<const int> ranks) {
    auto& entry = outgoing.emplace_back(Outgoing{message, {}});
    for (const int to : ranks) {
      check_mpi(MPI_Isend(&entry.message, sizeof entry.message, MPI_BYTE, to, kTag, comm,
                          &entry.requests.emplace_back(MPI_REQUEST_NULL)),
                "MPI_Isend");
    }
    return entry;
  }

  static bool sent(Outgoing& entry) {
    int done = 0;
    check_mpi(MPI_Testall(static_cast<int>(entry.requests.size()), entry.requests.data(), &done,
                          MPI_STATUSES_IGNORE),
              "MPI_Testall");
    return done != 0;
  }

  void take_in() {
    outgoing.remove_if([](Outgoing& entry) { return sent(entry); });
    for (int arrived = 1; arrived != 0;) {
      MPI_Status status;
      check_mpi(MPI_Test(&receive, &arrived, &status), "MPI_Test");
      if (arrived == 0) return;
      const Message message = incoming;
      post_receive();
      handle(message);
    }
  }

  void answer(int to) {
    auto message = make_message(Kind::kAnswer, rank, 0, current);
    message.place = place;
    send(message, std::array{to});
  }

  void handle(const Message& message) {
    switch (message.kind) {
      case Kind::kFailure:
        record->record({.rank = message.rank,
                        .reason = message.text.data(),
                        .code = static_cast<base::ExitCode>(message.code)});
        break;
      case Kind::kRollCall: answer(message.rank); break;
      case Kind::kAnswer:
        answers[message.rank] = {message.rank, message.place, message.text.data()};
        break;
    }
  }
};

MpiChannel::MpiChannel(std::shared_ptr<FailureRecord> record) : state_(std::make_unique<State>()) {
  state_->record = std::move(record);
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &state_->comm), "MPI_Comm_dup");
  check_mpi(MPI_Comm_rank(state_->comm, &state_->rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(state_->comm, &state_->size), "MPI_Comm_size");
  state_->post_receive();
}

MpiChannel::~MpiChannel() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0 && !state_->record->failed()) {
    MPI_Cancel(&state_->receive);
    MPI_Wait(&state_->receive, MPI_STATUS_IGNORE);
    MPI_Comm_free(&state_->comm);
    return;
  }
  // MPI still holds the addresses of the buffers in here; they stay until the process ends.
  [[maybe_unused]] auto* left_to_mpi = state_.release();
}

void MpiChannel::poll() {
  const std::unique_lock lock(state_->mutex, std::try_to_lock);
  if (lock.owns_lock()) state_->take_in();
}

void MpiChannel::announce(const Failure& failure) noexcept {
  try {
    const std::lock_guard lock(state_->mutex);
    std::vector<int> others;
    for (int rank = 0; rank < state_->size; ++rank) {
      if (rank != state_->rank) others.push_back(rank);
    }
    auto& notice = state_->send(
        make_message(Kind::kFailure, failure.rank, static_cast<int>(failure.code), failure.reason),
        others);
    const auto end = steady_clock::now() + kNoticePatience;
    while (!State::sent(notice) && steady_clock::now() < end) sched_yield();
  } catch (const std::exception&) {
    // The others find out by their deadlines.
  }
}

void MpiChannel::set_current(const Place& place, std::string operation) {
  const std::lock_guard lock(state_->mutex);
  state_->place = place;
  state_->current = std::move(operation);
}

std::vector<MpiChannel::Answer> MpiChannel::call_roll(std::span<const int> ranks,
                                                      std::chrono::milliseconds patience) {
  const auto end = steady_clock::now() + patience;
  const std::lock_guard lock(state_->mutex);
  state_->answers.clear();
  state_->send(make_message(Kind::kRollCall, state_->rank, 0, {}), ranks);
  while (state_->answers.size() < ranks.size() && steady_clock::now() < end &&
         !state_->record->failed()) {
    state_->take_in();
    sched_yield();
  }
  std::vector<Answer> answers;
  for (const auto& [rank, answer] : state_->answers) answers.push_back(answer);
  return answers;
}

void MpiChannel::abandon(std::vector<std::byte> buffer) {
  const std::lock_guard lock(state_->mutex);
  state_->abandoned.push_back(std::move(buffer));
}

}  // namespace lockstep::comm
