#include "tests/checkpoints/saved_state.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace lockstep::tests {

SavedState::SavedState(std::int64_t step) {
  checkpoints::SafetensorsHeader model;
  model.metadata = {{"format", "pt"}};
  model.tensors = {
      {.name = "layer.weight", .dtype = "F32", .shape = {16, 16}, .begin = 0, .end = 1024},
      {.name = "layer.bias", .dtype = "F32", .shape = {4}, .begin = 1024, .end = 1040},
      {.name = "batches", .dtype = "I64", .shape = {}, .begin = 1040, .end = 1048}};
  checkpoints::SafetensorsHeader optimizer;
  optimizer.metadata = {{"format", "pt"}, {"step", std::to_string(step)}};
  optimizer.tensors = {
      {.name = "m.layer.weight", .dtype = "F32", .shape = {16, 16}, .begin = 0, .end = 1024}};
  files_ = {{.name = "model.safetensors", .header = model},
            {.name = "optimizer.safetensors", .header = optimizer}};
  extents_ = {{.file = 0, .offset = 0, .length = 600},
              {.file = 0, .offset = 600, .length = 440},
              {.file = 0, .offset = 1040, .length = 8},
              {.file = 1, .offset = 0, .length = 1024}};
  for (std::size_t extent = 0; extent < extents_.size(); ++extent) {
    auto& bytes = bytes_.emplace_back();
    for (std::uint64_t i = 0; i < extents_[extent].length; ++i) {
      const auto number = static_cast<std::uint64_t>(step) * 31 + extent * 7 + i;
      bytes.push_back(static_cast<std::byte>(number & 0xFF));
    }
  }
  info_ = {.step = step, .epoch = step / 10, .metadata_json = R"({"seed":7,"lr":0.1})"};
}

std::vector<checkpoints::OwnedExtent> SavedState::owned(int rank, int world_size) const {
  std::vector<checkpoints::OwnedExtent> owned;
  for (int extent = rank; extent < static_cast<int>(extents_.size()); extent += world_size) {
    owned.push_back({.extent = extent, .bytes = bytes(extent)});
  }
  return owned;
}

std::vector<std::string> SavedState::digests() const {
  std::vector<std::string> digests;
  for (const auto& bytes : bytes_) digests.push_back(base::sha256_hex(std::span(bytes)));
  return digests;
}

std::string SavedState::digest() const {
  return checkpoints::state_digest(files_, extents_, digests());
}

std::string save(checkpoints::CheckpointStore& store, const SavedState& state, int world_size) {
  const auto ticket = store.begin(state.info().step, state.files(), state.extents());
  try {
    std::vector<std::string> digests(state.extents().size());
    for (int rank = 0; rank < world_size; ++rank) {
      for (const auto& digest : store.write_extents(ticket, state.files(), state.extents(),
                                                    state.owned(rank, world_size))) {
        digests[static_cast<std::size_t>(digest.extent)] = digest.sha256;
      }
    }
    return store.commit(ticket, state.files(), state.extents(), digests, state.info());
  } catch (const base::Error&) {
    store.abandon(ticket);
    throw;
  }
}

std::int64_t expect_whole(checkpoints::CheckpointStore& store, const std::string& path) {
  const auto manifest = store.open(path);
  const SavedState wanted(manifest.info.step);
  store.require_same_state(manifest, wanted.files(), wanted.extents());
  for (int extent = 0; extent < static_cast<int>(wanted.extents().size()); ++extent) {
    std::vector<std::byte> bytes(wanted.bytes(extent).size());
    store.read_extent(manifest, extent, bytes);
    EXPECT_EQ(bytes, wanted.bytes(extent)) << path << ", extent " << extent;
  }
  EXPECT_EQ(manifest.state_digest, wanted.digest()) << path;
  return manifest.info.step;
}

}  // namespace lockstep::tests
