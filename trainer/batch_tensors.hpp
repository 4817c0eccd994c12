#pragma once
// A batch of host buffers as tensors that share its memory. Local, any thread.

#include "data/batch.hpp"
#include "data/source.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

/// Views of `batch`, which must outlive them. `inputs`: [samples, ...] f32, or i64 for tokens;
/// `targets`: as Objective wants them.
MicroBatch tensors_of(data::Batch& batch, const data::SourceInfo& info);

/// What the data says about a model's ends.
ModelShapes shapes_of(const data::SourceInfo& info, std::int64_t classes, std::int64_t context);

ObjectiveKind objective_of(const data::SourceInfo& info);

}  // namespace lockstep::trainer
