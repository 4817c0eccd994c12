#pragma once
// Outputs of a model for every sample of a dataset, in the dataset's order, in one HDF5 file whose
// bytes do not depend on the number of ranks. Used by `predict`. One rank, one thread.

#include <cstdint>
#include <string>

#include "data/source.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/train_step.hpp"

namespace lockstep::trainer {

/// Writes dataset `predictions` [samples, ...] f32 to `output` on rank 0 and returns the number of
/// samples. Throws IoError or DataError on all ranks. Collective.
std::int64_t predict(RankGroup group, ParameterSpace& space, data::SampleSource& source,
                     std::int64_t batch, const std::string& output);

}  // namespace lockstep::trainer
