#include "trainer/state_keeper.hpp"

#include "base/error.hpp"
#include "base/sha256_pair.hpp"
#include "comm/agreement.hpp"

namespace lockstep::trainer {

StateKeeper::StateKeeper(RankGroup group, TrainStep& train_step, base::FileSystem& files,
                         const std::string& directory)
    : group_(group), train_step_(train_step), store_(files, directory) {}

std::string StateKeeper::digest(std::int64_t steps_done) {
  train_step_.bring_to_memory();
  const StateFiles state(train_step_, steps_done, group_.topology);
  std::vector<std::span<const std::byte>> memory;
  for (const auto& owned : state.owned()) memory.emplace_back(owned.memory);
  auto hashes = base::sha256_hex_each(memory);
  std::vector<checkpoints::ExtentDigest> mine;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    mine.push_back({.extent = state.owned()[i].extent, .sha256 = std::move(hashes[i])});
  }
  std::vector<std::string> digests(state.extents().size());
  const auto lines = checkpoints::digest_lines(mine);
  for (const auto& of_rank : group_.world.all_gather_texts(lines, "extent digests")) {
    LOCKSTEP_EXPECT(checkpoints::read_digest_lines(of_rank, digests), "digests that are none");
  }
  return checkpoints::state_digest(state.files(), state.extents(), digests);
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
  train_step_.take_from_memory();
  return info;
}

}  // namespace lockstep::trainer
