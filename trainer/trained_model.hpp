#pragma once
// A model to be asked, not trained: parameters and buffers once a node, no gradients and no
// optimizer state. Used by evaluation and prediction through the worker main. One rank, one thread.

#include <memory>
#include <string>

#include "checkpoints/checkpoint_store.hpp"
#include "comm/node_memory.hpp"
#include "trainer/device_context.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/parameter_space.hpp"

namespace lockstep::trainer {

class TrainedModel {
 public:
  /// Allocates the state in node memory, all zeros, and binds the model to it, or to a copy of it
  /// on `device` where there is one. Throws EnvironmentError when shared memory has too little
  /// room. Collective.
  TrainedModel(RankGroup group, std::shared_ptr<Model> model, DeviceContext* device = nullptr,
               Precision precision = Precision::kFloat32);

  /// Reads the model of the checkpoint at `path`. The optimizer's bytes are checked as well and
  /// not kept: a damaged checkpoint is never used. Throws CheckpointError on all ranks. Collective.
  checkpoints::LoadedManifest load(checkpoints::CheckpointStore& store, const std::string& path);

  ParameterSpace& parameters() { return *space_; }

 private:
  RankGroup group_;
  std::unique_ptr<comm::NodeMemory> memory_;
  StateMemory host_;
  torch::Tensor on_device_;  // all of it, where there is a device
  std::unique_ptr<ParameterSpace> space_;
};

}  // namespace lockstep::trainer
