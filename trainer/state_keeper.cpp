#include "trainer/state_keeper.hpp"

#include "base/error.hpp"
#include "base/hash.hpp"

namespace lockstep::trainer {
namespace {

/// An error as one text, so that it can travel: code, then message. Empty = none.
std::string packed(base::ExitCode code, const std::string& message) {
  return std::to_string(static_cast<int>(code)) + " " + message;
}

[[noreturn]] void throw_packed(const std::string& text, int rank, int world_size) {
  const auto space = text.find(' ');
  const auto code = static_cast<base::ExitCode>(std::stoi(text.substr(0, space)));
  auto message = text.substr(space + 1);
  if (world_size > 1) message = "rank " + std::to_string(rank) + ": " + message;
  if (code == base::ExitCode::kCheckpoint) throw base::CheckpointError(message);
  throw base::Error(code, message);
}

}  // namespace

StateKeeper::StateKeeper(RankGroup group, TrainStep& train_step, base::FileSystem& files,
                         const std::string& directory)
    : group_(group),
      train_step_(train_step),
      files_(files),
      directory_(directory),
      store_(files, directory) {}

StateFiles StateKeeper::files_at(std::int64_t steps_done) {
  const auto& topology = group_.topology;
  return StateFiles(train_step_, steps_done, topology.rank, topology.local_rank,
                    topology.local_size);
}

template <class Work>
void StateKeeper::together(const char* what, Work&& work) {
  std::string problem;
  try {
    work();
  } catch (const base::CommError&) {
    throw;  // the group has failed: there is nobody to tell
  } catch (const base::Error& error) {
    problem = packed(error.code(), error.what());
  } catch (const std::exception& error) {
    problem = packed(base::ExitCode::kFailed, error.what());
  }
  const auto problems = group_.world.all_gather_texts(problem, what);
  for (std::size_t rank = 0; rank < problems.size(); ++rank) {
    if (!problems[rank].empty()) {
      throw_packed(problems[rank], static_cast<int>(rank), group_.world.size());
    }
  }
}

std::vector<std::string> StateKeeper::gather(const std::vector<checkpoints::ExtentDigest>& mine,
                                             std::size_t extents) {
  std::string text;
  for (const auto& digest : mine)
    text += std::to_string(digest.extent) + " " + digest.sha256 + "\n";
  std::vector<std::string> digests(extents);
  for (const auto& lines : group_.world.all_gather_texts(text, "extent digests")) {
    for (std::size_t begin = 0; begin < lines.size();) {
      const auto space = lines.find(' ', begin);
      const auto end = lines.find('\n', begin);
      const auto extent = std::stoul(lines.substr(begin, space - begin));
      digests.at(extent) = lines.substr(space + 1, end - space - 1);
      begin = end + 1;
    }
  }
  return digests;
}

std::string StateKeeper::digest(std::int64_t steps_done) {
  const auto state = files_at(steps_done);
  std::vector<checkpoints::ExtentDigest> mine;
  for (const auto& owned : state.owned()) {
    mine.push_back({.extent = owned.extent, .sha256 = base::sha256_hex(owned.memory)});
  }
  return checkpoints::state_digest(state.files(), state.extents(),
                                   gather(mine, state.extents().size()));
}

std::string StateKeeper::save(const checkpoints::CheckpointInfo& info,
                              const std::function<void(const std::string& digest)>& before_commit) {
  const auto state = files_at(info.step);
  checkpoints::SaveTicket ticket;
  const bool first = group_.world.rank() == 0;
  std::string digest;
  try {
    together("start of a checkpoint", [&] {
      if (first) ticket = store_.begin(info.step, state.files(), state.extents());
    });
    ticket.directory = group_.world.all_gather_texts(ticket.directory, "checkpoint folder")[0];
    std::vector<checkpoints::ExtentDigest> mine;
    together("checkpoint extents of all ranks", [&] {
      std::vector<checkpoints::OwnedExtent> owned;
      for (const auto& extent : state.owned()) {
        owned.push_back({.extent = extent.extent, .bytes = extent.memory});
      }
      mine = store_.write_extents(ticket, state.files(), state.extents(), owned);
    });
    const auto digests = gather(mine, state.extents().size());
    digest = checkpoints::state_digest(state.files(), state.extents(), digests);
    together("commit of a checkpoint", [&] {
      if (!first) return;
      before_commit(digest);
      store_.commit(ticket, state.files(), state.extents(), digests, info);
    });
  } catch (const base::CommError&) {
    throw;
  } catch (const base::Error&) {
    if (first && !ticket.directory.empty()) store_.abandon(ticket);
    throw;
  }
  return digest;
}

void StateKeeper::retain(std::int64_t keep, std::int64_t best_step) {
  store_.retain(keep, best_step);
}

checkpoints::CheckpointInfo StateKeeper::load(const std::string& path) {
  checkpoints::CheckpointInfo info;
  together("reading of a checkpoint", [&] {
    const auto manifest = store_.open(path);
    info = manifest.info;
    const auto state = files_at(info.step);
    store_.require_same_state(manifest, state.files(), state.extents());
    for (const auto& extent : state.loaded()) {
      store_.read_extent(manifest, extent.extent, extent.memory);
    }
  });
  train_step_.node_barrier("the restored state of all ranks");
  return info;
}

}  // namespace lockstep::trainer
