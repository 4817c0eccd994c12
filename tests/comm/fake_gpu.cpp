#include "tests/comm/fake_gpu.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <future>
#include <utility>

namespace lockstep::tests {

using comm::DeviceType;
using comm::NcclResult;
using comm::ReduceOp;
using State = NcclResult::State;

namespace {

class Stream {
 public:
  Stream() : thread_([this] { run(); }) {}
  ~Stream() {
    add({});
    thread_.join();
  }
  void add(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !queue_.empty(); });
      const auto work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      if (!work) return;
      work();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::thread thread_;  // last: it uses the others
};

struct Event {
  std::mutex mutex;
  std::condition_variable changed;
  std::int64_t recorded = 0, done = 0;
  std::chrono::steady_clock::time_point when{};  // it was done last
};
using SharedEvent = std::shared_ptr<Event>;  // a stream may outlive it

Stream& stream_of(comm::DeviceStream stream) { return *static_cast<Stream*>(stream); }
const SharedEvent& event_of(comm::DeviceEvent event) { return *static_cast<SharedEvent*>(event); }

template <class Value>
void reduce_as(std::span<const void* const> parts, void* out, std::size_t begin, std::size_t count,
               ReduceOp op) {
  auto* result = static_cast<Value*>(out);
  for (std::size_t i = 0; i < count; ++i) {
    Value value = static_cast<const Value*>(parts[0])[begin + i];
    for (const auto* part : parts.subspan(1)) {
      const Value other = static_cast<const Value*>(part)[begin + i];
      value = op == ReduceOp::kSum   ? value + other
              : op == ReduceOp::kMin ? std::min(value, other)
                                     : std::max(value, other);
    }
    result[i] = value;
  }
}

void reduce(std::span<const void* const> parts, void* out, std::size_t begin, std::size_t count,
            DeviceType type, ReduceOp op) {
  if (type == DeviceType::kFloat32) reduce_as<float>(parts, out, begin, count, op);
  if (type == DeviceType::kFloat64) reduce_as<double>(parts, out, begin, count, op);
  if (type == DeviceType::kInt64) reduce_as<std::int64_t>(parts, out, begin, count, op);
}

}  // namespace

FakeDevice::~FakeDevice() = default;
void* FakeDevice::allocate(std::size_t bytes) { return std::calloc(bytes, 1); }
void FakeDevice::release(void* memory) noexcept { std::free(memory); }
void FakeDevice::copy_to_host(void* to, const void* from, std::size_t bytes,
                              comm::DeviceStream stream) {
  launch(stream, [=] { std::memcpy(to, from, bytes); });
}
void FakeDevice::copy_to_device(void* to, const void* from, std::size_t bytes,
                                comm::DeviceStream stream) {
  launch(stream, [=] { std::memcpy(to, from, bytes); });
}
void FakeDevice::copy_within(void* to, const void* from, std::size_t bytes,
                             comm::DeviceStream stream) {
  launch(stream, [=] { std::memcpy(to, from, bytes); });
}
bool FakeDevice::pin(void* /*memory*/, std::size_t /*bytes*/) noexcept {
  ++pinned_;
  return true;
}
void FakeDevice::unpin(void* /*memory*/) noexcept { --pinned_; }
comm::DeviceStream FakeDevice::make_stream() {
  ++streams_;
  return new Stream;
}
void FakeDevice::end_stream(comm::DeviceStream stream) noexcept {
  delete static_cast<Stream*>(stream);
  --streams_;
}
comm::DeviceEvent FakeDevice::make_event() { return new SharedEvent(std::make_shared<Event>()); }
void FakeDevice::end_event(comm::DeviceEvent event) noexcept {
  delete static_cast<SharedEvent*>(event);
}

double FakeDevice::seconds_between(comm::DeviceEvent begin, comm::DeviceEvent end) {
  const auto time_of = [](const SharedEvent& event) {
    const std::lock_guard lock(event->mutex);
    return event->when;
  };
  return std::chrono::duration<double>(time_of(event_of(end)) - time_of(event_of(begin))).count();
}

void FakeDevice::record(comm::DeviceEvent event, comm::DeviceStream stream) {
  const auto shared = event_of(event);
  std::int64_t number = 0;
  {
    const std::lock_guard lock(shared->mutex);
    number = ++shared->recorded;
  }
  stream_of(stream).add([shared, number] {
    {
      const std::lock_guard lock(shared->mutex);
      shared->done = number;
      shared->when = std::chrono::steady_clock::now();
    }
    shared->changed.notify_all();
  });
}

void FakeDevice::wait(comm::DeviceStream stream, comm::DeviceEvent event) {
  const auto shared = event_of(event);
  std::int64_t number = 0;
  {
    const std::lock_guard lock(shared->mutex);
    number = shared->recorded;
  }
  stream_of(stream).add([shared, number] {
    std::unique_lock lock(shared->mutex);
    shared->changed.wait(lock, [&] { return shared->done >= number; });
  });
}

bool FakeDevice::is_done(comm::DeviceEvent event) {
  const auto& shared = event_of(event);
  const std::lock_guard lock(shared->mutex);
  return shared->done >= shared->recorded;
}

void FakeDevice::join(comm::DeviceStream stream) {
  std::promise<void> over;
  launch(stream, [&over] { over.set_value(); });
  over.get_future().wait();
}

void FakeDevice::launch(comm::DeviceStream stream, std::function<void()> work) {
  stream_of(stream).add(std::move(work));
}

struct FakeNccl::Meeting {
  std::vector<const void*> in;
  std::vector<void*> out;
  int arrived = 0;
  bool over = false;
};

struct FakeNccl::Clique {
  int ranks = 0, joined = 0;
  std::map<std::int64_t, Meeting> meetings;  // by number
  struct Letter {
    const void* values;
    std::size_t bytes;
    bool taken = false;
  };
  std::map<std::pair<int, int>, std::deque<Letter*>> letters;  // (from, to)
};

struct FakeNccl::Handle {
  std::shared_ptr<Clique> clique;
  int rank = 0;
  std::int64_t operations = 0;
  int polls = 0;
  bool aborted = false, broken = false;
};

namespace {

struct Message {
  int peer;
  const void* out;
  void* in;
  std::size_t bytes;
};
struct OpenGroup {
  void* handle = nullptr;
  comm::DeviceStream stream = nullptr;
  std::vector<Message> messages;
};
thread_local OpenGroup open_group;

}  // namespace

thread_local int FakeNccl::rank_of_thread = 0;

FakeNccl::~FakeNccl() { let_go(); }

void FakeNccl::let_go() {
  const std::lock_guard lock(mutex_);
  let_go_ = true;
  changed_.notify_all();
}

const NcclFaults& FakeNccl::faults_of(int rank) { return faults_[rank]; }

bool FakeNccl::await(std::unique_lock<std::mutex>& lock, const Handle& handle,
                     const std::function<bool()>& ready) {
  changed_.wait(lock, [&] { return let_go_ || handle.aborted || ready(); });
  return ready();
}

int FakeNccl::version() {
  const std::lock_guard lock(mutex_);
  return faults_of(rank_of_thread).version;
}

NcclResult FakeNccl::make_id(comm::NcclId& id) {
  const std::lock_guard lock(mutex_);
  if (faults_of(rank_of_thread).no_id) return {State::kFailed, "no interface"};
  ++ids_;
  std::memcpy(id.bytes.data(), &ids_, sizeof ids_);
  return {};
}

NcclResult FakeNccl::init(comm::NcclHandle& handle, int ranks, const comm::NcclId& id, int rank) {
  const std::lock_guard lock(mutex_);
  if (faults_of(rank).init_fails) return {State::kFailed, "unhandled cuda error"};
  auto& clique = cliques_[id.bytes];
  if (!clique) clique = std::make_shared<Clique>();
  clique->ranks = ranks;
  if (!faults_of(rank).init_never_ends) ++clique->joined;
  handles_.push_back(std::make_shared<Handle>());
  handles_.back()->clique = clique;
  handles_.back()->rank = rank;
  handle = handles_.back().get();
  return {State::kInProgress};
}

NcclResult FakeNccl::state(comm::NcclHandle handle) {
  const std::lock_guard lock(mutex_);
  auto& mine = *static_cast<Handle*>(handle);
  if (mine.broken) return {State::kFailed, "remote process exited or there was a network error"};
  if (mine.clique->joined < mine.clique->ranks) return {State::kInProgress};
  if (mine.polls > 0) {
    --mine.polls;
    return {State::kInProgress};
  }
  return {};
}

NcclResult FakeNccl::called(Handle& handle) {
  const auto& faults = faults_of(handle.rank);
  handle.polls = faults.polls;
  return handle.polls > 0 ? NcclResult{State::kInProgress} : NcclResult{};
}

NcclResult FakeNccl::meet(Handle& handle, const void* in, void* out, comm::DeviceStream stream,
                          Combine combine) {
  const std::lock_guard lock(mutex_);
  const auto& faults = faults_of(handle.rank);
  const auto number = ++handle.operations;
  if (faults.refused == number) return {State::kFailed, "invalid argument"};
  const bool stuck = faults.stuck == number;
  if (faults.breaks == number) handle.broken = true;
  FakeDevice::launch(stream, [this, &handle, in, out, number, stuck, combine = std::move(combine)] {
    std::unique_lock meeting_lock(mutex_);
    if (stuck || handle.broken || let_go_) {
      await(meeting_lock, handle, [] { return false; });
      return;
    }
    const auto ranks = static_cast<std::size_t>(handle.clique->ranks);
    auto& meeting = handle.clique->meetings[number];
    meeting.in.resize(ranks);
    meeting.out.resize(ranks);
    meeting.in[static_cast<std::size_t>(handle.rank)] = in;
    meeting.out[static_cast<std::size_t>(handle.rank)] = out;
    if (++meeting.arrived == handle.clique->ranks) {
      combine(meeting);
      meeting.over = true;
      changed_.notify_all();
    }
    await(meeting_lock, handle, [&] { return meeting.over; });
  });
  return called(handle);
}

NcclResult FakeNccl::all_reduce(comm::NcclHandle handle, const void* in, void* out,
                                std::size_t count, DeviceType type, ReduceOp op,
                                comm::DeviceStream stream) {
  return meet(*static_cast<Handle*>(handle), in, out, stream, [=](Meeting& meeting) {
    std::vector<std::byte> result(count * bytes_of(type));
    reduce(meeting.in, result.data(), 0, count, type, op);
    for (auto* each : meeting.out) std::memcpy(each, result.data(), result.size());
  });
}

NcclResult FakeNccl::reduce_scatter(comm::NcclHandle handle, const void* in, void* out,
                                    std::size_t count_of_rank, DeviceType type, ReduceOp op,
                                    comm::DeviceStream stream) {
  return meet(*static_cast<Handle*>(handle), in, out, stream, [=](Meeting& meeting) {
    std::vector<std::vector<std::byte>> results;
    for (std::size_t rank = 0; rank < meeting.in.size(); ++rank) {
      results.emplace_back(count_of_rank * bytes_of(type));
      reduce(meeting.in, results.back().data(), rank * count_of_rank, count_of_rank, type, op);
    }
    for (std::size_t rank = 0; rank < results.size(); ++rank) {
      std::memcpy(meeting.out[rank], results[rank].data(), results[rank].size());
    }
  });
}

NcclResult FakeNccl::all_gather(comm::NcclHandle handle, const void* in, void* out,
                                std::size_t count_of_rank, DeviceType type,
                                comm::DeviceStream stream) {
  return meet(*static_cast<Handle*>(handle), in, out, stream, [=](Meeting& meeting) {
    const auto bytes = count_of_rank * bytes_of(type);
    std::vector<std::byte> all;
    for (const auto* each : meeting.in) {
      const auto* begin = static_cast<const std::byte*>(each);
      all.insert(all.end(), begin, begin + bytes);
    }
    for (auto* each : meeting.out) std::memcpy(each, all.data(), all.size());
  });
}

NcclResult FakeNccl::broadcast(comm::NcclHandle handle, void* values, std::size_t count,
                               DeviceType type, int root, comm::DeviceStream stream) {
  return meet(*static_cast<Handle*>(handle), values, values, stream, [=](Meeting& meeting) {
    const auto* from = meeting.in[static_cast<std::size_t>(root)];
    for (auto* each : meeting.out) {
      if (each != from) std::memcpy(each, from, count * bytes_of(type));
    }
  });
}

NcclResult FakeNccl::send(comm::NcclHandle handle, const void* values, std::size_t count,
                          DeviceType type, int to, comm::DeviceStream stream) {
  open_group.handle = handle;
  open_group.stream = stream;
  open_group.messages.push_back({to, values, nullptr, count * bytes_of(type)});
  return {};
}

NcclResult FakeNccl::receive(comm::NcclHandle handle, void* values, std::size_t count,
                             DeviceType type, int from, comm::DeviceStream stream) {
  open_group.handle = handle;
  open_group.stream = stream;
  open_group.messages.push_back({from, nullptr, values, count * bytes_of(type)});
  return {};
}

NcclResult FakeNccl::group_start() {
  open_group = {};
  return {};
}

NcclResult FakeNccl::group_end() {
  const auto group = std::exchange(open_group, {});
  if (group.handle == nullptr) return {};
  auto& handle = *static_cast<Handle*>(group.handle);
  const std::lock_guard lock(mutex_);
  const auto& faults = faults_of(handle.rank);
  const auto number = ++handle.operations;
  if (faults.refused == number) return {State::kFailed, "invalid argument"};
  const bool stuck = faults.stuck == number;
  FakeDevice::launch(group.stream, [this, &handle, stuck, messages = group.messages] {
    std::unique_lock letter_lock(mutex_);
    if (stuck) {
      await(letter_lock, handle, [] { return false; });
      return;
    }
    auto& letters = handle.clique->letters;
    std::deque<Clique::Letter> mine;
    for (const auto& message : messages) {
      if (message.out == nullptr) continue;
      mine.push_back({message.out, message.bytes});
      letters[{handle.rank, message.peer}].push_back(&mine.back());
    }
    changed_.notify_all();
    for (const auto& message : messages) {
      if (message.out != nullptr) continue;
      auto& box = letters[{message.peer, handle.rank}];
      if (!await(letter_lock, handle, [&] { return !box.empty(); })) break;
      std::memcpy(message.in, box.front()->values, std::min(message.bytes, box.front()->bytes));
      box.front()->taken = true;
      box.pop_front();
      changed_.notify_all();
    }
    await(letter_lock, handle, [&] {
      return std::ranges::all_of(mine, [](const auto& letter) { return letter.taken; });
    });
    for (auto& [pair, box] : letters) {
      if (pair.first == handle.rank) box.clear();
    }
  });
  return called(handle);
}

NcclResult FakeNccl::finalize(comm::NcclHandle handle) {
  std::unique_lock lock(mutex_);
  auto& mine = *static_cast<Handle*>(handle);
  if (faults_of(mine.rank).end_never_returns) {
    changed_.wait(lock, [&] { return let_go_; });
  }
  return {};
}

NcclResult FakeNccl::destroy(comm::NcclHandle) {
  ++destroyed_;
  return {};
}

NcclResult FakeNccl::abort(comm::NcclHandle handle) {
  std::unique_lock lock(mutex_);
  auto& mine = *static_cast<Handle*>(handle);
  if (faults_of(mine.rank).end_never_returns) {
    changed_.wait(lock, [&] { return let_go_; });
  }
  mine.aborted = true;
  ++aborted_;
  changed_.notify_all();
  return {};
}

}  // namespace lockstep::tests
