#include "trainer/state_files.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::uint64_t kFloat = sizeof(float);

void describe(checkpoints::SafetensorsHeader& header, const std::vector<FlatTensor>& tensors,
              const std::string& prefix, const std::string& dtype, std::uint64_t element_bytes,
              std::uint64_t region_begin) {
  for (const auto& tensor : tensors) {
    const auto begin = region_begin + static_cast<std::uint64_t>(tensor.offset) * element_bytes;
    header.tensors.push_back(
        {.name = prefix + tensor.name,
         .dtype = dtype,
         .shape = tensor.shape,
         .begin = begin,
         .end = begin + static_cast<std::uint64_t>(tensor.count) * element_bytes});
  }
}

std::span<std::byte> bytes_of(float* values, std::int64_t count) {
  return std::as_writable_bytes(std::span(values, static_cast<std::size_t>(count)));
}

}  // namespace

ModelFiles model_files(ParameterSpace& space, StateMemory memory,
                       const std::vector<FlatRange>& blocks) {
  const auto& layout = space.layout();
  const auto flat_bytes = static_cast<std::uint64_t>(layout.flat_count()) * kFloat;

  checkpoints::SafetensorsHeader header;
  describe(header, layout.parameters, "", "F32", kFloat, 0);
  describe(header, layout.buffers, "", "F32", kFloat, 0);
  describe(header, layout.counters, "", "I64", sizeof(std::int64_t), flat_bytes);
  header.metadata = {{"format", "pt"}};
  ModelFiles model;
  model.files.push_back({.name = kModelFile, .header = std::move(header)});

  for (const auto& block : blocks) {
    model.extents.push_back({.offset = static_cast<std::uint64_t>(block.begin) * kFloat,
                             .memory = bytes_of(memory.flat + block.begin, block.count())});
  }
  if (layout.counter_count > 0) {
    model.extents.push_back({.offset = flat_bytes,
                             .memory = std::as_writable_bytes(std::span(space.counters())),
                             .each_rank = true});
  }
  if (layout.constant_count > 0) {
    checkpoints::SafetensorsHeader frozen;
    describe(frozen, layout.constants, "", "F32", kFloat, 0);
    frozen.metadata = {{"format", "pt"}};
    model.files.push_back({.name = kFrozenFile, .header = std::move(frozen), .frozen = true});
    model.extents.push_back(
        {.file = 1, .memory = bytes_of(memory.constants, layout.constant_count)});
  }
  return model;
}

StateFiles::StateFiles(TrainStep& train_step, std::int64_t steps_done,
                       const comm::Topology& topology)
    : local_rank_(topology.local_rank), local_size_(topology.local_size) {
  const int rank = topology.rank;
  auto& space = train_step.parameters();
  const auto& layout = space.layout();
  const auto& blocks = train_step.blocks();
  auto model = model_files(space, train_step.memory_of_state(), blocks);
  files_ = std::move(model.files);

  const auto names = state_names(train_step.options().optimizer);
  const auto state_bytes = static_cast<std::uint64_t>(layout.parameter_count) * kFloat;
  checkpoints::SafetensorsHeader optimizer;
  for (std::size_t i = 0; i < names.size(); ++i) {
    describe(optimizer, layout.parameters, names[i] + ".", "F32", kFloat, i * state_bytes);
  }
  optimizer.metadata = {{"format", "pt"}, {"step", std::to_string(steps_done)}};
  files_.push_back({.name = kOptimizerFile, .header = std::move(optimizer)});

  for (const auto& file : files_) data_begins_.push_back(file_prefix(file.header).size());

  for (std::size_t i = 0; i < model.extents.size(); ++i) {
    const auto& extent = model.extents[i];
    add(extent.file, extent.offset, extent.memory,
        i < blocks.size() ? train_step.owns(i) : rank == 0,
        extent.each_rank ? Loads::kEveryRank : Loads::kShared);
  }
  const auto optimizer_file = static_cast<int>(files_.size()) - 1;
  for (std::size_t name = 0; name < names.size(); ++name) {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].begin >= layout.parameter_count) break;
      add(optimizer_file, name * state_bytes + static_cast<std::uint64_t>(blocks[i].begin) * kFloat,
          bytes_of(train_step.state_at(name, blocks[i].begin), blocks[i].count()),
          train_step.owns(i), Loads::kOwn);
    }
  }
}

std::uint64_t StateFiles::bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& extent : extents_) bytes += extent.length;
  return bytes;
}

std::uint64_t StateFiles::frozen_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& extent : extents_) {
    if (files_[static_cast<std::size_t>(extent.file)].frozen) bytes += extent.length;
  }
  return bytes;
}

void StateFiles::add(int file, std::uint64_t offset, std::span<std::byte> memory, bool owned,
                     Loads loads) {
  const auto index = static_cast<int>(extents_.size());
  extents_.push_back({.file = file, .offset = offset, .length = memory.size()});
  const LocalExtent local{.extent = index,
                          .memory = memory,
                          .each_rank = loads == Loads::kEveryRank,
                          .frozen = files_.at(static_cast<std::size_t>(file)).frozen,
                          .file_offset = data_begins_.at(static_cast<std::size_t>(file)) + offset};
  if (owned) owned_.push_back(local);
  const bool loaded = loads == Loads::kEveryRank || (loads == Loads::kOwn && owned) ||
                      (loads == Loads::kShared && index % local_size_ == local_rank_);
  if (loaded) loaded_.push_back(local);
}

}  // namespace lockstep::trainer
