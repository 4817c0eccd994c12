#include "comm/nccl_group.hpp"

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "comm/waiting.hpp"

namespace lockstep::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kSpinning{1};  // then naps
constexpr std::chrono::microseconds kNap{100};
/// How often a wait looks whether the library or another rank has failed.
constexpr milliseconds kLook{10};
/// For an abort, and for the end of a group that is well. Both may wait for other ranks.
constexpr milliseconds kEnding{2000};

std::string version_text(int code) {
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." +
         std::to_string(code % 100);
}

}  // namespace

std::size_t bytes_of(DeviceType type) {
  switch (type) {
    case DeviceType::kByte: return 1;
    case DeviceType::kBFloat16: return 2;
    case DeviceType::kFloat32: return 4;
    case DeviceType::kFloat64:
    case DeviceType::kInt64: return 8;
  }
  return 0;
}

NcclGroup::NcclGroup(std::shared_ptr<NcclApi> nccl, DeviceApi& device, Communicator& control)
    : nccl_(std::move(nccl)), device_(device), control_(control) {
  require_agreement(control_, "version of NCCL", version_text(nccl_->version()),
                    base::ExitCode::kEnvironment);
  guarded([&] {
    NcclId id;
    const std::string operation = "NCCL's start";
    if (rank() == 0) settle(nccl_->make_id(id), operation);
    control_.broadcast(std::as_writable_bytes(std::span(id.bytes)), 0, "id of a NCCL group");
    // No rank is in NCCL's own rendezvous before all know where it is.
    control_.barrier("id of a NCCL group");
    try {
      settle(nccl_->init(handle_, size(), id, rank()), operation);
      stream_ = device_.make_stream();
      event_ = device_.make_event();
    } catch (...) {
      failed_ = true;
      end();
      throw;
    }
  });
}

NcclGroup::~NcclGroup() { end(); }

void NcclGroup::end() noexcept {
  if (handle_ != nullptr) {
    // NCCL's end may wait for ranks that are gone. What has not returned in time never will, and
    // must not be touched again: its thread goes when the process does.
    const auto over = std::make_shared<std::atomic<bool>>(false);
    const bool good = !failed_ && !control_.failure();
    try {
      std::thread([over, good, nccl = nccl_, handle = handle_] {
        auto state = NcclResult::State::kFailed;
        if (good) {
          state = nccl->finalize(handle).state;
          while (state == NcclResult::State::kInProgress) {
            std::this_thread::sleep_for(kNap);
            state = nccl->state(handle).state;
          }
        }
        if (state == NcclResult::State::kDone) {
          nccl->destroy(handle);
        } else {
          nccl->abort(handle);
        }
        over->store(true);
      }).detach();
      const auto deadline = steady_clock::now() + kEnding;
      while (!over->load() && steady_clock::now() < deadline) std::this_thread::sleep_for(kNap);
    } catch (const std::system_error&) {
      // No thread: the handle is left to the end of the process.
    }
    handle_ = nullptr;
    if (!over->load()) return;  // its kernels may still use the stream
  }
  if (event_ != nullptr) device_.end_event(event_);
  if (stream_ != nullptr) device_.end_stream(stream_);
  event_ = nullptr;
  stream_ = nullptr;
}

/// What throws has failed the group for all ranks.
template <class Body>
void NcclGroup::guarded(Body&& body) {
  try {
    body();
  } catch (const base::Error& error) {
    failed_ = true;
    control_.fail(error.what(), error.code());
    throw;
  }
}

template <class Done>
void NcclGroup::wait_until(Done&& done, const std::string& operation) {
  const auto begin = steady_clock::now();
  auto next_look = begin + kLook;
  while (!done()) {
    const auto now = steady_clock::now();
    if (now >= next_look) {
      look();
      next_look = now + kLook;
    }
    if (now >= begin + control_.deadline()) {
      throw timeout_error(operation, rank(), control_.deadline(),
                          "not all ranks have come, or one of their devices is stuck");
    }
    if (now < begin + kSpinning) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

void NcclGroup::settle(NcclResult result, const std::string& operation) {
  const auto require_no_failure = [&] {
    if (result.state != NcclResult::State::kFailed) return;
    throw base::CommError(operation + " on rank " + std::to_string(rank()) + " failed (NCCL " +
                          version_text(nccl_->version()) + ": " + result.problem +
                          "); set NCCL_DEBUG=WARN to see more, and look at the devices' health");
  };
  require_no_failure();
  if (result.state == NcclResult::State::kDone) return;
  wait_until(
      [&] {
        result = nccl_->state(handle_);
        require_no_failure();
        return result.state == NcclResult::State::kDone;
      },
      operation);
}

void NcclGroup::check() {
  guarded([&] { look(); });
}

/// Throws when NCCL or another rank has failed.
void NcclGroup::look() {
  control_.check();
  if (handle_ == nullptr) return;
  auto result = nccl_->state(handle_);
  if (result.state == NcclResult::State::kFailed) settle(std::move(result), last_);
}

template <class Call>
void NcclGroup::enqueue(const char* name, std::string_view what, Call&& call) {
  guarded([&] {
    if (control_.failure()) control_.check();
    last_ =
        std::string("NCCL ") + name + " " + std::to_string(++operations_) + " " + base::quote(what);
    moving_.begin(stream_);
    settle(call(), last_);
    moving_.end(stream_);
  });
}

void NcclGroup::all_reduce(const void* in, void* out, std::size_t count, DeviceType type,
                           ReduceOp op, std::string_view what) {
  enqueue("all_reduce", what,
          [&] { return nccl_->all_reduce(handle_, in, out, count, type, op, stream_); });
}

void NcclGroup::reduce_scatter(const void* in, void* out, std::size_t count_of_rank,
                               DeviceType type, ReduceOp op, std::string_view what) {
  enqueue("reduce_scatter", what, [&] {
    return nccl_->reduce_scatter(handle_, in, out, count_of_rank, type, op, stream_);
  });
}

void NcclGroup::all_gather(const void* in, void* out, std::size_t count_of_rank, DeviceType type,
                           std::string_view what) {
  enqueue("all_gather", what,
          [&] { return nccl_->all_gather(handle_, in, out, count_of_rank, type, stream_); });
}

void NcclGroup::broadcast(void* values, std::size_t count, DeviceType type, int root,
                          std::string_view what) {
  enqueue("broadcast", what,
          [&] { return nccl_->broadcast(handle_, values, count, type, root, stream_); });
}

void NcclGroup::exchange(std::span<const DeviceSend> sends, std::span<const DeviceReceive> receives,
                         DeviceType type, std::string_view what) {
  enqueue("exchange", what, [&] {
    using State = NcclResult::State;
    auto result = nccl_->group_start();
    const auto add = [&](auto&& call) {
      if (result.state == State::kFailed) return;
      auto next = call();
      if (next.state == State::kFailed) result = std::move(next);
    };
    for (const auto& to : sends) {
      add([&] { return nccl_->send(handle_, to.values, to.count, type, to.rank, stream_); });
    }
    for (const auto& from : receives) {
      add([&] {
        return nccl_->receive(handle_, from.values, from.count, type, from.rank, stream_);
      });
    }
    // Always: an open group would swallow the next call.
    auto end = nccl_->group_end();
    return result.state == State::kFailed ? result : end;
  });
}

void NcclGroup::begin_after(DeviceStream compute) {
  guarded([&] {
    device_.record(event_, compute);
    device_.wait(stream_, event_);
  });
}

void NcclGroup::finish_before(DeviceStream compute) {
  guarded([&] {
    device_.record(event_, stream_);
    exposed_.begin(compute);
    device_.wait(compute, event_);
    exposed_.end(compute);
  });
}

void NcclGroup::wait(std::string_view what) {
  guarded([&] {
    device_.record(event_, stream_);
    const auto operation = last_ + " (" + std::string(what) + ")";
    wait_until([&] { return device_.is_done(event_); }, operation);
    look();
  });
}

void NcclGroup::wait_for(DeviceEvent event, std::string_view what) {
  guarded([&] { wait_until([&] { return device_.is_done(event); }, std::string(what)); });
}

void NcclGroup::barrier(std::string_view what) {
  wait(what);
  control_.barrier(what);
}

std::unique_ptr<NcclGroup> NcclGroup::split(Communicator& control) const {
  return std::make_unique<NcclGroup>(nccl_, device_, control);
}

}  // namespace lockstep::comm
