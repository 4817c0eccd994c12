#include "trainer/inference.hpp"

#include <numeric>

#include "trainer/batch_tensors.hpp"

namespace lockstep::trainer {

Inference::Inference(ParameterSpace& space, data::SampleSource& source)
    : space_(space), source_(source) {
  space_.model().eval();
  space_.refresh();
  space_.reset_buffers();
}

Inference::~Inference() { space_.model().train(); }

Inference::Result Inference::run(data::Range range) {
  rows_.resize(static_cast<std::size_t>(range.size()));
  std::iota(rows_.begin(), rows_.end(), range.begin);
  source_.read(rows_, batch_);
  const auto tensors = tensors_of(batch_, source_.info());
  const auto device = space_.memory().device;
  const Autocast autocast(device, space_.precision());
  const auto outputs =
      space_.model().forward(space_.as_inputs(tensors.inputs), {Phase::kEvaluation, {}});
  return {.outputs = outputs.to(at::TensorOptions(at::kFloat).device(at::kCPU)),
          .targets = tensors.targets};
}

}  // namespace lockstep::trainer
