#include "trainer/inference.hpp"

#include <algorithm>
#include <numeric>

#include "trainer/batch_tensors.hpp"
#include "trainer/output_loss.hpp"

namespace lockstep::trainer {

std::int64_t inference_batch(std::int64_t batch, const data::SourceInfo& info) {
  constexpr std::int64_t kMostOutputs = std::int64_t{1} << 26;
  auto outputs = std::max<std::int64_t>(shapes_of(info).outputs, 1);
  if (info.kind == data::TaskKind::kTokens) outputs *= info.input_shape.at(0);
  return std::clamp<std::int64_t>(kMostOutputs / outputs, 1, batch);
}

Inference::Inference(ParameterSpace& space, data::SampleSource& source)
    : space_(space), source_(source) {
  space_.model().eval();
  space_.refresh();
  space_.reset_buffers();
}

Inference::~Inference() { space_.model().train(); }

MicroBatch Inference::read(data::Range range) {
  rows_.resize(static_cast<std::size_t>(range.size()));
  std::iota(rows_.begin(), rows_.end(), range.begin);
  source_.read(rows_, batch_);
  return tensors_of(batch_, source_.info());
}

Inference::Result Inference::run(data::Range range) {
  const auto tensors = read(range);
  const auto device = space_.memory().device;
  const Autocast autocast(device, space_.precision());
  const auto outputs =
      space_.model().forward(space_.as_inputs(tensors.inputs), {Phase::kEvaluation, {}});
  return {.outputs = outputs.to(at::TensorOptions(at::kFloat).device(at::kCPU)),
          .targets = tensors.targets};
}

MetricSums Inference::measure(data::Range range, const Objective& objective) {
  const auto tensors = read(range);
  const auto device = space_.memory().device;
  const Autocast autocast(device, space_.precision());
  const ForwardContext context{Phase::kEvaluation, {}};
  const auto before = space_.model().before_outputs(space_.as_inputs(tensors.inputs), context);
  return output_sums(before, tensors.targets.to(device), objective, context,
                     {.most_outputs = outputs_at_once(device)});
}

}  // namespace lockstep::trainer
