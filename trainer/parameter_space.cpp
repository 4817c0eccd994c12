#include "trainer/parameter_space.hpp"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/error.hpp"

namespace lockstep::trainer {
namespace {

FlatTensor flat_tensor(const std::string& name, const torch::Tensor& tensor) {
  return {.name = name, .shape = tensor.sizes().vec(), .offset = 0, .count = tensor.numel()};
}

void require_dtype(const std::string& name, const torch::Tensor& tensor, at::ScalarType wanted) {
  if (tensor.scalar_type() == wanted) return;
  throw base::ConfigError("model tensor '" + name + "' has dtype " +
                          c10::toString(tensor.scalar_type()) +
                          " (parameters must be f32, buffers f32 or i64); convert it in the "
                          "model's constructor");
}

/// Calls `visit` once for each distinct tensor: tied ones count under their first name.
template <class Dictionary, class Visit>
void for_each_distinct(const Dictionary& named, Visit visit) {
  std::unordered_set<const void*> seen;
  for (const auto& item : named) {
    if (item.value().defined() && seen.insert(item.value().unsafeGetTensorImpl()).second) {
      visit(item.key(), item.value());
    }
  }
}

torch::Tensor view_of(float* memory, const FlatTensor& tensor) {
  return at::from_blob(memory + tensor.offset, tensor.shape, at::TensorOptions(at::kFloat));
}

void copy_in(float* memory, const FlatTensor& tensor, const torch::Tensor& values) {
  view_of(memory, tensor).copy_(values);
}

}  // namespace

/// Takes a parameter's gradient in place of AccumulateGrad and writes it where the exchange reads
/// it: no gradient tensor is kept, nothing is zeroed between micro-batches, and a tied parameter
/// arrives once, already summed by the engine.
class GradientNode final : public torch::autograd::Node {
 public:
  explicit GradientNode(const torch::Tensor& parameter)
      : Node(/*sequence_nr=*/UINT64_MAX), shape_(parameter.sizes().vec()) {
    add_input_metadata(parameter);
  }

  void aim(float* target, Contribution contribution) {
    target_ = target;
    contribution_ = contribution;
    touched_ = false;
  }
  bool touched() const { return touched_; }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const auto& gradient = gradients.at(0);
    if (!gradient.defined()) return {};
    LOCKSTEP_EXPECT(target_ != nullptr, "a backward pass outside begin_micro_batch");
    const at::AutoDispatchBelowAutograd below;
    auto place = at::from_blob(target_, shape_, at::TensorOptions(at::kFloat));
    if (contribution_ == Contribution::kStore) {
      place.copy_(gradient);
    } else {
      place.add_(gradient);
    }
    touched_ = true;
    return {};
  }

 private:
  std::vector<std::int64_t> shape_;
  float* target_ = nullptr;
  Contribution contribution_ = Contribution::kStore;
  bool touched_ = false;
};

ParameterLayout layout_of(const Model& model) {
  ParameterLayout layout;
  for_each_distinct(model.named_parameters(), [&](const auto& name, const auto& tensor) {
    require_dtype(name, tensor, at::kFloat);
    auto& region = tensor.requires_grad() ? layout.parameters : layout.constants;
    region.push_back(flat_tensor(name, tensor));
  });
  for_each_distinct(model.named_buffers(), [&](const auto& name, const auto& tensor) {
    const bool counter = tensor.scalar_type() == at::kLong;
    if (!counter) require_dtype(name, tensor, at::kFloat);
    (counter ? layout.counters : layout.buffers).push_back(flat_tensor(name, tensor));
  });
  layout.parameter_count = place_dense(layout.parameters, 0);
  layout.buffer_count =
      place_dense(layout.buffers, layout.parameter_count) - layout.parameter_count;
  layout.constant_count = place_dense(layout.constants, 0);
  layout.counter_count = place_dense(layout.counters, 0);
  return layout;
}

ParameterSpace::ParameterSpace(std::shared_ptr<Model> model, ParameterLayout layout,
                               StateMemory memory, InitialValues initial)
    : model_(std::move(model)), layout_(std::move(layout)), memory_(memory) {
  const torch::NoGradGuard no_grad;
  const auto parameters = model_->named_parameters();
  const auto buffers = model_->named_buffers();
  const bool copy = initial == InitialValues::kCopyFromModel;
  for (const auto& entry : layout_.parameters) {
    auto parameter = parameters[entry.name];
    if (copy) copy_in(memory_.flat, entry, parameter);
    parameter.set_data(view_of(memory_.flat, entry));
    auto node = std::make_shared<GradientNode>(parameter);
    torch::autograd::impl::set_grad_accumulator(parameter, node);
    nodes_.push_back(std::move(node));
  }
  for (const auto& entry : layout_.constants) {
    auto parameter = parameters[entry.name];
    if (copy) copy_in(memory_.constants, entry, parameter);
    parameter.set_data(view_of(memory_.constants, entry));
  }
  working_buffers_.resize(static_cast<std::size_t>(layout_.buffer_count));
  for (const auto& entry : layout_.buffers) {
    auto buffer = buffers[entry.name];
    if (copy) copy_in(memory_.flat, entry, buffer);
    auto place = entry;
    place.offset -= layout_.parameter_count;
    buffer.set_data(view_of(working_buffers_.data(), place));
  }
  for (const auto& entry : layout_.counters) {
    auto counter = buffers[entry.name];
    const auto values = counter.contiguous();
    const auto* data = values.data_ptr<std::int64_t>();
    counters_.insert(counters_.end(), data, data + entry.count);
    working_counters_.push_back(counter);
  }
}

ParameterSpace::~ParameterSpace() = default;

void ParameterSpace::reset_buffers() {
  const auto* start = memory_.flat + layout_.parameter_count;
  std::copy(start, start + layout_.buffer_count, working_buffers_.begin());
  for (std::size_t i = 0; i < working_counters_.size(); ++i) {
    const auto& entry = layout_.counters[i];
    std::memcpy(working_counters_[i].data_ptr<std::int64_t>(), counters_.data() + entry.offset,
                static_cast<std::size_t>(entry.count) * sizeof(std::int64_t));
  }
}

void ParameterSpace::begin_micro_batch(float* target, Contribution contribution) {
  reset_buffers();
  target_ = target;
  contribution_ = contribution;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i]->aim(target + layout_.parameters[i].offset, contribution);
  }
}

void ParameterSpace::end_micro_batch() {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i]->touched()) {
      const auto& entry = layout_.parameters[i];
      float* place = target_ + entry.offset;
      if (contribution_ == Contribution::kStore) {
        std::fill_n(place, entry.count, 0.0F);
      } else {
        // Not a no-op: it turns -0 into +0, as adding another rank's zeros would.
        for (std::int64_t k = 0; k < entry.count; ++k) place[k] += 0.0F;
      }
    }
    nodes_[i]->aim(nullptr, contribution_);
  }
  const auto* start = memory_.flat + layout_.parameter_count;
  float* place = target_ + layout_.parameter_count;
  for (std::int64_t k = 0; k < layout_.buffer_count; ++k) {
    const float change = working_buffers_[static_cast<std::size_t>(k)] - start[k];
    place[k] = contribution_ == Contribution::kStore ? change : place[k] + change;
  }
  target_ = nullptr;
}

void ParameterSpace::commit_counters() {
  for (std::size_t i = 0; i < working_counters_.size(); ++i) {
    const auto& entry = layout_.counters[i];
    std::memcpy(counters_.data() + entry.offset, working_counters_[i].data_ptr<std::int64_t>(),
                static_cast<std::size_t>(entry.count) * sizeof(std::int64_t));
  }
}

}  // namespace lockstep::trainer
