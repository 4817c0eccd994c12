#include "trainer/state_keeper.hpp"

#include "base/error.hpp"
#include "base/hash.hpp"
#include "comm/agreement.hpp"

namespace lockstep::trainer {

StateKeeper::StateKeeper(RankGroup group, TrainStep& train_step, base::FileSystem& files,
                         const std::string& directory)
    : group_(group), train_step_(train_step), store_(files, directory) {}

std::vector<std::string> gather_digests(comm::Communicator& world,
                                        std::span<const checkpoints::ExtentDigest> mine,
                                        std::size_t extents) {
  std::string text;
  for (const auto& digest : mine)
    text += std::to_string(digest.extent) + " " + digest.sha256 + "\n";
  std::vector<std::string> digests(extents);
  for (const auto& lines : world.all_gather_texts(text, "extent digests")) {
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
  const StateFiles state(train_step_, steps_done, group_.topology);
  std::vector<checkpoints::ExtentDigest> mine;
  for (const auto& owned : state.owned()) {
    mine.push_back({.extent = owned.extent, .sha256 = base::sha256_hex(owned.memory)});
  }
  return checkpoints::state_digest(state.files(), state.extents(),
                                   gather_digests(group_.world, mine, state.extents().size()));
}

checkpoints::CheckpointInfo StateKeeper::load(const std::string& path) {
  checkpoints::CheckpointInfo info;
  comm::together(group_.world, "reading of a checkpoint", [&] {
    const auto manifest = store_.open(path);
    info = manifest.info;
    const StateFiles state(train_step_, info.step, group_.topology);
    store_.require_same_state(manifest, state.files(), state.extents());
    for (const auto& extent : state.loaded()) {
      store_.read_extent(manifest, extent.extent, extent.memory);
    }
  });
  train_step_.node_barrier("the restored state of all ranks");
  return info;
}

}  // namespace lockstep::trainer
