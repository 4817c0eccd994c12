#include "trainer/batch_tensors.hpp"

#include <functional>
#include <numeric>

#include "base/error.hpp"

namespace lockstep::trainer {
namespace {

template <class Buffer>
torch::Tensor view_of(Buffer& buffer, std::int64_t samples, std::vector<std::int64_t> shape,
                      at::ScalarType dtype) {
  shape.insert(shape.begin(), samples);
  return at::from_blob(buffer.data(), shape, at::TensorOptions(dtype));
}

}  // namespace

MicroBatch tensors_of(data::Batch& batch, const data::SourceInfo& info) {
  MicroBatch tensors;
  tensors.index = batch.micro_batch;
  const auto samples = batch.samples;
  switch (info.kind) {
    case data::TaskKind::kTokens:
      tensors.inputs = view_of(batch.tokens, samples, info.input_shape, at::kLong);
      tensors.targets = view_of(batch.classes, samples, info.input_shape, at::kLong);
      break;
    case data::TaskKind::kClassification:
      tensors.inputs = view_of(batch.inputs, samples, info.input_shape, at::kFloat);
      tensors.targets = view_of(batch.classes, samples, {}, at::kLong);
      break;
    case data::TaskKind::kRegression:
      tensors.inputs = view_of(batch.inputs, samples, info.input_shape, at::kFloat);
      tensors.targets = view_of(batch.values, samples, info.target_shape, at::kFloat);
      break;
  }
  return tensors;
}

ModelShapes shapes_of(const data::SourceInfo& info) {
  const auto target_numbers = std::accumulate(info.target_shape.begin(), info.target_shape.end(),
                                              std::int64_t{1}, std::multiplies<>());
  return {.input_shape = info.input_shape,
          .outputs = info.kind == data::TaskKind::kRegression ? target_numbers : info.classes,
          .tokens = info.kind == data::TaskKind::kTokens};
}

ObjectiveKind objective_of(const data::SourceInfo& info, const std::string& loss) {
  const bool regression = info.kind == data::TaskKind::kRegression;
  if ((loss == "mse" && !regression) || (loss == "cross_entropy" && regression)) {
    throw base::ConfigError("train.loss '" + loss + "' does not fit the data (its targets are " +
                            (regression ? "numbers: mse" : "classes: cross_entropy") +
                            "); leave it at auto");
  }
  switch (info.kind) {
    case data::TaskKind::kClassification: return ObjectiveKind::kClassification;
    case data::TaskKind::kRegression: return ObjectiveKind::kRegression;
    case data::TaskKind::kTokens: return ObjectiveKind::kTokens;
  }
  throw base::InternalError("task kind out of range; report this bug");
}

}  // namespace lockstep::trainer
