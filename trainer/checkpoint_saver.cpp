#include "trainer/checkpoint_saver.hpp"

#include <cerrno>
#include <utility>

#include "base/text.hpp"
#include "comm/agreement.hpp"
#include "trainer/state_keeper.hpp"

namespace lockstep::trainer {
namespace {

/// What the saver itself must copy of this rank's share: what steps change and do not hold.
std::vector<LocalExtent> to_copy(const StateFiles& state, const TrainStep& train_step) {
  auto extents = state.owned();
  std::erase_if(extents,
                [&](const LocalExtent& e) { return e.frozen || train_step.held(e.memory); });
  return extents;
}

/// Adds the time of its life.
class Timed {
 public:
  Timed(const base::Clock& clock, std::chrono::nanoseconds& sum)
      : clock_(clock), sum_(sum), begin_(clock.now()) {}
  ~Timed() { sum_ += clock_.now() - begin_; }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  const base::Clock& clock_;
  std::chrono::nanoseconds& sum_;
  std::chrono::nanoseconds begin_;
};

}  // namespace

struct CheckpointSaver::Save {
  SaveRequest request;
  StateFiles state;
  std::vector<checkpoints::OwnedExtent> copied;  ///< of this rank's share; the rest is held
  checkpoints::SaveTicket ticket{};  ///< on rank 0 that of the job that begins, once it has ended
  bool disk_full = false;            ///< on purpose
  std::vector<checkpoints::ExtentDigest> mine{};  ///< left by the job that writes
  std::vector<std::string> digests{};  ///< of all extents, on rank 0, by the job that collects
  std::string digest{};                ///< of the state, likewise
  std::string retention_problem{};     ///< left by the job that commits
  std::chrono::nanoseconds begun{0}, blocked{0};
  std::chrono::nanoseconds durable{0};  ///< left by the job that commits
};

CheckpointSaver::CheckpointSaver(CheckpointSaverOptions options, RankGroup group,
                                 TrainStep& train_step)
    : options_(std::move(options)),
      group_(group),
      train_step_(train_step),
      store_(options_.files, options_.directory, options_.clock) {
  if (options_.copies == CheckpointSaverOptions::Copies::kKept) {
    snapshot_.emplace(to_copy(StateFiles(train_step_, 0, group_.topology), train_step_));
  }
  thread_.emplace([this] {
    if (snapshot_) snapshot_->prepare();
    if (snapshot_ && train_step_.can_hold()) train_step_.prepare_hold();
  });
}

CheckpointSaver::~CheckpointSaver() { train_step_.before_change({}); }

std::int64_t CheckpointSaver::step() const { return save_ ? save_->request.info.step : -1; }

void CheckpointSaver::begin(SaveRequest request) {
  LOCKSTEP_EXPECT(snapshot_.has_value(), "a save in the background without memory for it");
  const auto begun = options_.clock.now();
  StateFiles state(train_step_, request.info.step, group_.topology);
  const auto copied = to_copy(state, train_step_);
  auto copies = snapshot_->begin(copied);
  for (const auto& extent : copied) {
    if (extent.each_rank) snapshot_->keep(extent.memory);
  }
  start(std::move(request), std::move(state), std::move(copies));
  if (train_step_.can_hold()) {
    train_step_.hold();
  } else {
    train_step_.before_change([this](std::span<const std::byte> piece) {
      const Timed timed(options_.clock, save_->blocked);
      snapshot_->keep(piece);
    });
  }
  save_->begun = begun;
  save_->blocked += options_.clock.now() - begun;
}

void CheckpointSaver::complete_copy() {
  if (!snapshot_) return;
  train_step_.before_change({});
  snapshot_->complete();
  if (train_step_.can_hold()) train_step_.end_hold();
}

void CheckpointSaver::start(SaveRequest request, StateFiles state,
                            std::vector<checkpoints::OwnedExtent> copied) {
  LOCKSTEP_EXPECT(!busy(), "a save beside another one");
  save_ = std::make_unique<Save>(
      Save{.request = std::move(request), .state = std::move(state), .copied = std::move(copied)});
  save_->ticket = store_.ticket_of(step());
  save_->disk_full =
      options_.faults.wants(base::Fault::Kind::kDiskFull, base::Phase::kSave, step());
  save_->begun = options_.clock.now();
  last_failure_.reset();
  phase_ = Phase::kBeginning;
  start_on_first_rank([this] {
    save_->ticket = store_.begin(step(), save_->state.files(), save_->state.extents(), last_saved_);
  });
}

void CheckpointSaver::start_job(BackgroundThread::Job job) {
  if (waits_) {
    thread_->run_here(job);
  } else {
    thread_->start(std::move(job));
  }
}

void CheckpointSaver::start_on_first_rank(std::function<void()> job) {
  if (group_.world.rank() != 0) return;
  start_job([job = std::move(job)](const BackgroundThread::Check&) { job(); });
}

void CheckpointSaver::advance(JobState all) {
  if (!busy() || all == JobState::kRunning) return;
  const Timed timed(options_.clock, save_->blocked);
  if (all == JobState::kFailed && phase_ != Phase::kAbandoning) {
    if (const auto reason = failure_of_all()) return give_up(*reason);
  }
  thread_->take_end();
  switch (phase_) {
    case Phase::kBeginning: return write();
    case Phase::kWriting: return collect();
    case Phase::kCollecting: return commit();
    case Phase::kCommitting:
      phase_ = Phase::kIdle;
      if (options_.observer.saved) {
        const auto took = save_->durable - save_->begun;
        options_.observer.saved({.step = step(),
                                 .digest = save_->digest,
                                 .bytes = save_->state.bytes(),
                                 .blocked = waited_for_ ? took : save_->blocked,
                                 .took = took,
                                 .retention_problem = save_->retention_problem});
      }
      return;
    case Phase::kAbandoning:
    case Phase::kIdle: phase_ = Phase::kIdle;
  }
}

std::vector<checkpoints::OwnedExtent> CheckpointSaver::owned_bytes() const {
  auto owned = save_->copied;
  for (const auto& own : save_->state.owned()) {
    if (own.frozen && save_->ticket.frozen_is_there) continue;
    if (own.frozen || waited_for_) {
      owned.push_back({.extent = own.extent, .bytes = own.memory});
    } else if (const auto held = train_step_.held(own.memory)) {
      owned.push_back({.extent = own.extent, .bytes = *held});
    }
  }
  return owned;
}

void CheckpointSaver::write() {
  phase_ = Phase::kWriting;
  complete_copy();
  const auto mode =
      waited_for_ ? checkpoints::WriteMode::kThroughCache : checkpoints::WriteMode::kPastCache;
  start_job([this, mode, owned = owned_bytes()](const BackgroundThread::Check& check) {
    auto& save = *save_;
    save.mine = store_.write_extents(
        save.ticket, save.state.files(), save.state.extents(), owned, mode, [&] {
          check();
          if (!save.disk_full) return;
          throw base::IoError("writing " + base::quote(save.ticket.directory) +
                                  " failed (No space left on device, as LOCKSTEP_FAULT asked for); "
                                  "free space there or name another directory",
                              ENOSPC);
        });
    if (group_.world.rank() != 0) store_.leave_digests(save.ticket, group_.world.rank(), save.mine);
  });
}

void CheckpointSaver::collect() {
  phase_ = Phase::kCollecting;
  start_on_first_rank([this] {
    auto& save = *save_;
    const auto& state = save.state;
    save.digests = store_.collect_digests(save.ticket, group_.world.size(), state.extents().size());
    if (save.ticket.frozen_is_there) {
      save.mine.insert(save.mine.end(), frozen_.begin(), frozen_.end());
    }
    for (const auto& mine : save.mine) {
      auto& digest = save.digests.at(static_cast<std::size_t>(mine.extent));
      LOCKSTEP_EXPECT(digest.empty(), "an extent that two ranks have written");
      digest = mine.sha256;
    }
    save.digest = checkpoints::state_digest(state.files(), state.extents(), save.digests);
  });
}

void CheckpointSaver::commit() {
  phase_ = Phase::kCommitting;
  std::function<void()> before;
  if (options_.observer.digest_known) {
    before = options_.observer.digest_known(step(), save_->digest);
  }
  start_on_first_rank([this, before] {
    if (before) before();
    const auto& state = save_->state;
    const auto& digests = save_->digests;
    last_saved_ =
        store_.commit(save_->ticket, state.files(), state.extents(), digests, save_->request.info);
    frozen_.clear();
    for (const auto& own : state.owned()) {
      if (!own.frozen) continue;
      frozen_.push_back({own.extent, digests[static_cast<std::size_t>(own.extent)]});
    }
    save_->durable = options_.clock.now();
    try {
      store_.retain(save_->request.retention);
    } catch (const base::Error& error) {
      // The new one is durable, and the next save tries again.
      save_->retention_problem = error.what();
    }
  });
}

std::optional<base::Error> CheckpointSaver::failure_of_all() {
  const auto mine = thread_->take_end();
  try {
    comm::together(group_.world, "failure of a checkpoint", [&] {
      if (mine != nullptr) std::rethrow_exception(mine);
    });
  } catch (const base::CommError&) {
    throw;
  } catch (const base::TimeoutError&) {
    throw;
  } catch (const base::Error& error) {
    return error;
  }
  return std::nullopt;
}

void CheckpointSaver::give_up(const base::Error& reason) {
  last_failure_ = reason;
  train_step_.before_change({});
  phase_ = Phase::kAbandoning;
  start_on_first_rank([this] { store_.abandon(save_->ticket); });
  if (options_.observer.failed && !waited_for_) {
    options_.observer.failed(step(), reason.what());
  }
}

void CheckpointSaver::finish() {
  auto& world = group_.world;
  waits_ = true;
  while (busy()) {
    thread_->wait(world.deadline(), "the writing of a checkpoint", [&] { world.check(); });
    const auto mine = job();
    std::vector<JobState> jobs(static_cast<std::size_t>(world.size()));
    world.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(jobs)),
                     "jobs of a checkpoint");
    auto all = JobState::kNone;
    for (const auto state : jobs) all = combined(all, state);
    advance(all);
  }
  waits_ = false;
}

std::string CheckpointSaver::save_and_wait(SaveRequest request) {
  finish();
  train_step_.bring_to_memory();
  StateFiles state(train_step_, request.info.step, group_.topology);
  waited_for_ = true;
  waits_ = true;
  start(std::move(request), std::move(state), {});
  finish();
  waited_for_ = false;
  if (last_failure_) throw base::Error(*last_failure_);
  return comm::on_first_rank(group_.world, "digest of a checkpoint", [&] { return save_->digest; });
}

void CheckpointSaver::let_commit_end() {
  if (phase_ != Phase::kCommitting) return;
  thread_->wait(group_.world.deadline(), "the commit of a checkpoint",
                [&] { group_.world.check(); });
}

}  // namespace lockstep::trainer
