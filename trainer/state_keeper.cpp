#include "trainer/state_keeper.hpp"

#include "base/error.hpp"
#include "base/sha256_pair.hpp"
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
  std::vector<std::span<const std::byte>> memory;
  for (const auto& owned : state.owned()) memory.emplace_back(owned.memory);
  auto hashes = base::sha256_hex_each(memory);
  std::vector<checkpoints::ExtentDigest> mine;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    mine.push_back({.extent = state.owned()[i].extent, .sha256 = std::move(hashes[i])});
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
    std::vector<checkpoints::ReadExtent> wanted;
    for (const auto& extent : state.loaded()) {
      wanted.push_back({.extent = extent.extent, .out = extent.memory});
    }
    store_.read_extents(manifest, wanted);
  });
  train_step_.node_barrier("the restored state of all ranks");
  return info;
}

}  // namespace lockstep::trainer
