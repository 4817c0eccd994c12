#include "trainer/trained_model.hpp"

#include <algorithm>
#include <utility>

#include "comm/agreement.hpp"
#include "trainer/state_files.hpp"

namespace lockstep::trainer {
namespace {

constexpr std::size_t kPage = 4096;

/// The part of a manifest that is about the model's files, which come first.
checkpoints::LoadedManifest model_part(checkpoints::LoadedManifest manifest, std::size_t files) {
  manifest.files.resize(std::min(manifest.files.size(), files));
  std::erase_if(manifest.extents,
                [&](const auto& extent) { return std::cmp_greater_equal(extent.file, files); });
  return manifest;
}

}  // namespace

TrainedModel::TrainedModel(RankGroup group, std::shared_ptr<Model> model, DeviceContext* device,
                           Precision precision)
    : group_(group) {
  auto layout = layout_of(*model);
  const auto flat_bytes = static_cast<std::size_t>(layout.flat_count()) * sizeof(float);
  const auto constants_begin = (flat_bytes + kPage - 1) / kPage * kPage;
  const auto bytes =
      constants_begin + static_cast<std::size_t>(layout.constant_count) * sizeof(float);
  memory_ = std::make_unique<comm::NodeMemory>(group_.node, std::max(bytes, kPage), "model");
  std::byte* place = memory_->bytes().data();
  host_ = {.flat = reinterpret_cast<float*>(place),
           .constants = reinterpret_cast<float*>(place + constants_begin)};
  auto used = host_;
  if (device != nullptr) {
    const at::TensorOptions floats(at::kFloat);
    const auto count = static_cast<std::int64_t>(memory_->bytes().size() / sizeof(float));
    on_device_ = at::zeros({count}, floats.device(device->where));
    auto* flat = on_device_.mutable_data_ptr<float>();
    used = {
        .flat = flat, .constants = flat + constants_begin / sizeof(float), .device = device->where};
  }
  space_ = std::make_unique<ParameterSpace>(std::move(model), std::move(layout), used,
                                            InitialValues::kKeepMemory, precision);
}

checkpoints::LoadedManifest TrainedModel::load(checkpoints::CheckpointStore& store,
                                               const std::string& path) {
  checkpoints::LoadedManifest manifest;
  const auto& topology = group_.topology;
  comm::together(group_.world, "reading of a checkpoint", [&] {
    manifest = store.open(path);
    const auto model = model_files(*space_, host_, cut_blocks(space_->layout()));
    std::vector<checkpoints::StateExtent> extents;
    for (const auto& extent : model.extents) {
      extents.push_back(
          {.file = extent.file, .offset = extent.offset, .length = extent.memory.size()});
    }
    store.require_same_state(model_part(manifest, model.files.size()), model.files, extents);
    std::vector<std::byte> unwanted;
    for (std::size_t i = 0; i < manifest.extents.size(); ++i) {
      const auto number = static_cast<int>(i);
      if (i < extents.size()) {
        const auto& extent = model.extents[i];
        if (extent.each_rank || number % topology.local_size == topology.local_rank) {
          store.read_extent(manifest, number, extent.memory);
        }
      } else if (number % topology.world_size == topology.rank) {
        unwanted.resize(manifest.extents[i].length);
        store.read_extent(manifest, number, unwanted);
      }
    }
  });
  if (on_device_.defined()) {
    on_device_.copy_(view_of(host_.flat, on_device_.sizes(), host_.device));
  }
  return manifest;
}

}  // namespace lockstep::trainer
