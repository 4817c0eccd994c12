#pragma once
// A batch of host buffers as tensors that share its memory. Local, any thread.

#include "configs/run_config.hpp"
#include "data/batch.hpp"
#include "data/source.hpp"
#include "trainer/models/models.hpp"
#include "trainer/objective.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

/// Views of `batch`, which must outlive them and keep its buffers.
MicroBatch tensors_of(data::Batch& batch, const data::SourceInfo& info);

/// What the data says about a model's ends.
ModelShapes shapes_of(const data::SourceInfo& info);

/// What is learned from the data; `loss` is train.loss. Throws ConfigError when they do not fit.
ObjectiveKind objective_of(const data::SourceInfo& info, const std::string& loss);

}  // namespace lockstep::trainer
