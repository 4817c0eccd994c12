#pragma once
// A model's parameters, gradients and buffers as flat memory: the module's tensors become views,
// gradients land where the exchange reads them. Used by TrainStep, evaluation and checkpoints.
// Belongs to one rank and one thread. Does not own the memory it binds to.

#include <functional>
#include <memory>
#include <vector>

#include "trainer/model.hpp"
#include "trainer/parameter_layout.hpp"
#include "trainer/precision.hpp"

namespace lockstep::trainer {

/// The layout of a model as it stands. Throws ConfigError for parameters or buffers that are
/// neither f32 nor i64.
ParameterLayout layout_of(const Model& model);

/// A tensor of f32 over memory of `device`, which must outlive it.
torch::Tensor view_of(float* memory, at::IntArrayRef shape, at::Device device);

/// Memory of the model's state: a node's, the same on all its ranks, or a device's.
struct StateMemory {
  float* flat = nullptr;       ///< parameters from 0, f32
  float* constants = nullptr;  ///< [constant_count] f32
  std::int64_t buffers = -1;   ///< where buffers begin in `flat`; -1: behind the parameters
  /// [parameter_count] in the precision, which whoever updates parameters keeps up to date; null:
  /// where the precision needs one, it is the space's own.
  void* shorts = nullptr;
  at::Device device = at::kCPU;
};

enum class Contribution {
  kStore,  ///< overwrite the target: the first micro-batch of a leaf
  kAdd,    ///< add to the target
};

enum class InitialValues {
  kCopyFromModel,  ///< the module's values go to the flat memory (one rank a node)
  kKeepMemory,     ///< the flat memory has or will get the values
};

class GradientNode;

class ParameterSpace {
 public:
  /// With another precision than 32 bits, parameters of two and more dimensions are bound to a
  /// shorter copy of the flat memory, see refresh.
  ParameterSpace(std::shared_ptr<Model> model, ParameterLayout layout, StateMemory memory,
                 InitialValues initial, Precision precision = Precision::kFloat32);
  ~ParameterSpace();
  ParameterSpace(const ParameterSpace&) = delete;
  ParameterSpace& operator=(const ParameterSpace&) = delete;

  Model& model() { return *model_; }
  const ParameterLayout& layout() const { return layout_; }
  const StateMemory& memory() const { return memory_; }
  Precision precision() const { return precision_; }
  /// [counter_count] i64: this rank's integer buffers as of the step's start.
  std::vector<std::int64_t>& counters() { return counters_; }

  /// Before the first forward pass after the flat memory has changed: the model has its values,
  /// also where it computes with a shorter copy. At most one pass over the parameters, not one cast
  /// a use.
  void refresh();
  /// What the model's forward pass takes of a batch's inputs: on its device, and in the layout that
  /// its convolutions' weights have there (channels last where they are short floats, which spares
  /// a GPU the turning round of each). Local.
  torch::Tensor as_inputs(const torch::Tensor& inputs) const;
  /// Before a forward pass: buffers and counters are those of the step's start.
  void reset_buffers();

  /// Gradients of all parameters from flat element `begin` on are there.
  using Arrived = std::function<void(std::int64_t begin)>;
  /// Before a training forward pass: its gradients and buffer changes go to `target` (f32, laid out
  /// like the flat memory). `arrived`, if any, is called in the backward pass each time that its
  /// `begin` gets smaller, on whatever thread computes it.
  void begin_micro_batch(float* target, Contribution contribution, Arrived arrived = {});
  /// After its backward pass: parameters that got no gradient count as zero, and what the forward
  /// pass changed in the buffers is added to the target as a difference.
  void end_micro_batch();
  /// What a forward pass and its backward pass changed in the counters, for one that is to count
  /// as made without the host's part in it.
  std::vector<std::int64_t> counter_changes() const;
  void change_counters(const std::vector<std::int64_t>& changes);
  /// After the last micro-batch of a step: its counters become those of the next step's start.
  void commit_counters();

 private:
  friend class GradientNode;
  void note_arrival();
  torch::Tensor buffers_in(float* flat) const;

  std::shared_ptr<Model> model_;
  ParameterLayout layout_;
  StateMemory memory_;
  Precision precision_;
  torch::Tensor short_copy_;  // of all parameters, where the precision is not 32 bits
  /// Weights of convolutions, which have their channels last, and their values as they lie in it.
  std::vector<torch::Tensor> short_filters_, filters_;
  std::vector<std::shared_ptr<GradientNode>> nodes_;  // one a parameter, in layout order
  std::vector<torch::Tensor> working_counters_;       // the module's own integer buffers
  torch::Tensor working_buffers_;                     // the module's f32 buffers are views of this
  std::vector<std::int64_t> counters_;
  float* target_ = nullptr;
  Contribution contribution_ = Contribution::kStore;
  Arrived arrived_;
  std::size_t missing_ = 0;  // the parameters from this one on have their gradients
};

}  // namespace lockstep::trainer
