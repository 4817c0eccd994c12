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

}  // namespace

torch::Tensor view_of(float* memory, at::IntArrayRef shape, at::Device device) {
  const at::TensorOptions options(at::kFloat);
  return at::for_blob(memory, shape)
      .options(options.device(device))
      .target_device(device)
      .make_tensor();
}

/// Takes a parameter's gradient in place of AccumulateGrad and writes it where the exchange reads
/// it: no gradient tensor is kept, nothing is zeroed between micro-batches, and a tied parameter
/// arrives once, already summed by the engine.
class GradientNode final : public torch::autograd::Node {
 public:
  GradientNode(const torch::Tensor& parameter, ParameterSpace& space)
      : Node(/*sequence_nr=*/UINT64_MAX),
        space_(space),
        shape_(parameter.sizes().vec()),
        device_(parameter.device()) {
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
    auto place = view_of(target_, shape_, device_);
    if (touched_) {
      throw base::ConfigError(
          "a parameter of the model got two gradients in one backward pass (a part of the model "
          "that is 'recomputed' shares it with another); give that part parameters of its own");
    }
    if (contribution_ == Contribution::kStore) {
      place.copy_(gradient);
    } else {
      place.add_(gradient);
    }
    touched_ = true;
    if (space_.arrived_) space_.note_arrival();
    return {};
  }

 private:
  ParameterSpace& space_;
  std::vector<std::int64_t> shape_;
  at::Device device_;
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
                               StateMemory memory, InitialValues initial, Precision precision)
    : model_(std::move(model)), layout_(std::move(layout)), memory_(memory), precision_(precision) {
  if (memory_.buffers < 0) memory_.buffers = layout_.parameter_count;
  const torch::NoGradGuard no_grad;
  const auto parameters = model_->named_parameters();
  const auto buffers = model_->named_buffers();
  const bool copy = initial == InitialValues::kCopyFromModel;
  /// The module's tensor becomes a view of `place`.
  const auto bind = [&](torch::Tensor tensor, float* place, const FlatTensor& entry) {
    tensor.set_data(view_of(place, entry.shape, memory_.device));
  };
  const auto copy_in = [&](float* place, const FlatTensor& entry, const torch::Tensor& values) {
    if (copy) view_of(place, entry.shape, memory_.device).copy_(values);
  };
  const at::TensorOptions floats(at::kFloat);
  const auto shorts = floats.device(memory_.device).dtype(type_of(precision_));
  if (precision_ != Precision::kFloat32) {
    short_copy_ = memory_.shorts == nullptr
                      ? at::zeros({layout_.parameter_count}, shorts)
                      : at::for_blob(memory_.shorts, {layout_.parameter_count})
                            .options(shorts)
                            .target_device(memory_.device)
                            .make_tensor();
  }
  for (const auto& entry : layout_.parameters) {
    auto parameter = parameters[entry.name];
    copy_in(memory_.flat + entry.offset, entry, parameter);
    // Vectors are added to sums and scale them; they are few and stay exact.
    if (short_copy_.defined() && entry.shape.size() >= 2) {
      const auto place = short_copy_.narrow(0, entry.offset, entry.count);
      const auto& shape = entry.shape;
      if (shape.size() == 4) {
        parameter.set_data(at::empty(shape, shorts, at::MemoryFormat::ChannelsLast));
        short_filters_.push_back(parameter.detach());
        filters_.push_back(place.view(shape));
      } else {
        parameter.set_data(place.view(shape));
      }
    } else {
      bind(parameter, memory_.flat + entry.offset, entry);
    }
    auto node = std::make_shared<GradientNode>(parameter, *this);
    torch::autograd::impl::set_grad_accumulator(parameter, node);
    nodes_.push_back(std::move(node));
  }
  for (const auto& entry : layout_.constants) {
    copy_in(memory_.constants + entry.offset, entry, parameters[entry.name]);
    bind(parameters[entry.name], memory_.constants + entry.offset, entry);
  }
  working_buffers_ = at::zeros({layout_.buffer_count}, floats.device(memory_.device));
  for (const auto& entry : layout_.buffers) {
    const auto offset = entry.offset - layout_.parameter_count;
    copy_in(memory_.flat + memory_.buffers + offset, entry, buffers[entry.name]);
    bind(buffers[entry.name], working_buffers_.mutable_data_ptr<float>() + offset, entry);
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

torch::Tensor ParameterSpace::buffers_in(float* flat) const {
  return view_of(flat + memory_.buffers, {layout_.buffer_count}, memory_.device);
}

void ParameterSpace::refresh() {
  if (!short_copy_.defined()) return;
  const torch::NoGradGuard no_grad;
  if (memory_.shorts == nullptr) {
    short_copy_.copy_(view_of(memory_.flat, {layout_.parameter_count}, memory_.device));
  }
  for (std::size_t i = 0; i < filters_.size(); ++i) short_filters_[i].copy_(filters_[i]);
}

torch::Tensor ParameterSpace::as_inputs(const torch::Tensor& inputs) const {
  const auto there = inputs.to(memory_.device);
  if (short_filters_.empty() || there.dim() != 4) return there;
  return there.contiguous(at::MemoryFormat::ChannelsLast);
}

void ParameterSpace::reset_buffers() {
  if (layout_.buffer_count > 0) {
    const torch::NoGradGuard no_grad;
    working_buffers_.copy_(buffers_in(memory_.flat));
  }
  for (std::size_t i = 0; i < working_counters_.size(); ++i) {
    const auto& entry = layout_.counters[i];
    std::memcpy(working_counters_[i].data_ptr<std::int64_t>(), counters_.data() + entry.offset,
                static_cast<std::size_t>(entry.count) * sizeof(std::int64_t));
  }
}

void ParameterSpace::begin_micro_batch(float* target, Contribution contribution, Arrived arrived) {
  reset_buffers();
  target_ = target;
  contribution_ = contribution;
  arrived_ = std::move(arrived);
  missing_ = nodes_.size();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i]->aim(target + layout_.parameters[i].offset, contribution);
  }
}

void ParameterSpace::note_arrival() {
  const auto before = missing_;
  while (missing_ > 0 && nodes_[missing_ - 1]->touched()) --missing_;
  if (missing_ < before) arrived_(layout_.parameters[missing_].offset);
}

void ParameterSpace::end_micro_batch() {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i]->touched()) {
      const auto& entry = layout_.parameters[i];
      auto place = view_of(target_ + entry.offset, {entry.count}, memory_.device);
      if (contribution_ == Contribution::kStore) {
        place.zero_();
      } else {
        // Not a no-op: it turns -0 into +0, as adding another rank's zeros would.
        place.add_(0.0F);
      }
    }
    nodes_[i]->aim(nullptr, contribution_);
  }
  arrived_ = {};
  if (layout_.buffer_count > 0) {
    auto place = buffers_in(target_);
    const auto changes = working_buffers_ - buffers_in(memory_.flat);
    if (contribution_ == Contribution::kStore) {
      place.copy_(changes);
    } else {
      place.add_(changes);
    }
  }
  target_ = nullptr;
}

std::vector<std::int64_t> ParameterSpace::counter_changes() const {
  std::vector<std::int64_t> changes(counters_.size());
  for (std::size_t i = 0; i < working_counters_.size(); ++i) {
    const auto& entry = layout_.counters[i];
    const auto* now = working_counters_[i].const_data_ptr<std::int64_t>();
    for (std::int64_t j = 0; j < entry.count; ++j) {
      const auto at = static_cast<std::size_t>(entry.offset + j);
      changes[at] = now[j] - counters_[at];
    }
  }
  return changes;
}

void ParameterSpace::change_counters(const std::vector<std::int64_t>& changes) {
  for (std::size_t i = 0; i < working_counters_.size(); ++i) {
    const auto& entry = layout_.counters[i];
    auto* now = working_counters_[i].data_ptr<std::int64_t>();
    for (std::int64_t j = 0; j < entry.count; ++j) {
      const auto at = static_cast<std::size_t>(entry.offset + j);
      now[j] = counters_[at] + changes[at];
    }
  }
}

void ParameterSpace::commit_counters() {
  for (std::size_t i = 0; i < working_counters_.size(); ++i) {
    const auto& entry = layout_.counters[i];
    std::memcpy(counters_.data() + entry.offset, working_counters_[i].data_ptr<std::int64_t>(),
                static_cast<std::size_t>(entry.count) * sizeof(std::int64_t));
  }
}

}  // namespace lockstep::trainer
