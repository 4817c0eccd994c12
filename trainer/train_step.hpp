#pragma once
// One optimizer step, as a story: gradients of my micro-batches, their sum over all ranks, the
// update of my slice, parameters for everybody. Used by Trainer. One rank, one thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/micro_batch_plan.hpp"
#include "comm/node_memory.hpp"
#include "comm/node_relay.hpp"
#include "comm/reduction_tree.hpp"
#include "comm/topology.hpp"
#include "trainer/background_thread.hpp"
#include "trainer/device_state.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/kept_state.hpp"
#include "trainer/loss_scaler.hpp"
#include "trainer/objective.hpp"
#include "trainer/optimizer.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/schedule.hpp"

namespace lockstep::trainer {

enum class Reduction {
  kInvariant,  ///< one tree over micro-batches: bits do not depend on the rank count
  kFast,       ///< each rank adds up its micro-batches in turn: the promise is off
};

struct TrainStepOptions {
  std::int64_t micro_batches = 1;  ///< of a global batch
  std::int64_t micro_batch = 1;    ///< samples of one
  bool dense_kernels = false;      ///< Lockstep's matrix products where the processor has them
  bool autograd_alone = false;     ///< also where gradients could go without it
  Reduction reduction = Reduction::kInvariant;
  std::uint64_t seed = 1;
  double clip_norm = 0;  ///< largest global gradient norm; 0 does not clip
  OptimizerOptions optimizer;
  Schedule schedule;
  /// Compare the nodes' copies of the parameters in every so manyeth step; 0 = never.
  std::int64_t compare_nodes_every_steps = 0;
  /// Keep the state of the last finished step beside the one under way, see KeptState: because
  /// steps are taken back, or in a memory file of this node that outlives the ranks, where there is
  /// room for it. Empty = no such file.
  bool keep_last_step = false;
  std::string kept_memory{};
  bool hold_for_saves = false;  ///< and a state that is being saved, see `hold`; with the above
  std::string kept_identity{};  ///< of the run: what makes a state one that it can go on from
  /// Whether the run goes on from such a state after so many steps; null: from any. Collective.
  std::function<bool(std::int64_t step)> goes_on_from{};
  /// Where the step is computed; null: here. With `keep_last_step` it can take the last one back,
  /// but none outlives the ranks there. Outlives the step.
  DeviceContext* device = nullptr;
  Precision precision = Precision::kFloat32;  ///< another one with a device only
  LossScaleOptions loss_scale{};              ///< with Precision::kFloat16
  bool captures_graphs = true;                ///< of a device's micro-batches, where it can
  bool recompute = false;                     ///< activation checkpointing, see recompute.hpp
};

/// What a rank tells all others when it enters a step.
struct RankSignals {
  std::int32_t stop_requests = 0;  ///< that it has seen
  std::int32_t save_asked = 0;     ///< 1: its clock wants a checkpoint
  JobState job = JobState::kNone;  ///< of its background thread
};

/// What every rank knows after a step, the same bits everywhere.
struct StepResult {
  double loss = 0;           ///< mean over the global batch
  double gradient_norm = 0;  ///< before clipping
  double lr = 0;
  double loss_scale = 0;    ///< that gradients were computed with in f16; 0 = in none
  bool overflowed = false;  ///< gradients in f16: the update was left out, and training goes on
  /// Of all ranks as they entered the step: the most requests, whether any asked, and the jobs
  /// together (see combined).
  RankSignals signals;
};

class TrainStep {
 public:
  /// Allocates the state in node memory and binds the model to it. The first rank of each node
  /// gives the initial values. Throws EnvironmentError when shared memory has too little room.
  /// Collective.
  TrainStep(RankGroup group, std::shared_ptr<Model> model, Objective objective,
            TrainStepOptions options);

  /// Computes optimizer step `step` (0-based). `next` gives this rank's micro-batches in order.
  /// `signals` are shared with the other ranks. With `more` the step after it is the next to be
  /// computed, on any state, and a device may begin with it: `next` then gives the first
  /// micro-batch of that as well. Collective.
  StepResult operator()(std::int64_t step, const std::function<MicroBatch()>& next,
                        const RankSignals& signals, bool more = false);

  /// Sets what is called, on this thread, with each piece of this rank's share of parameters,
  /// buffers and optimizer state just before a step changes it; nothing to call nothing.
  using BeforeChange = std::function<void(std::span<const std::byte> piece)>;
  void before_change(BeforeChange call) { before_change_ = std::move(call); }

  /// Whether the state can be held with no copy of its own: see KeptState::hold, and
  /// DeviceState::begin_image.
  bool can_hold() const { return device_ || (kept_ && options_.hold_for_saves); }
  /// This rank's share of the state of now will be held until the next call, whatever steps do.
  /// Between steps, when it can be. Local.
  void hold();
  /// The share is held from now on, even if no step came. Local.
  void end_hold();
  /// Where the held values of `memory`, a piece of the share, are; nothing where it is of another
  /// kind: not parameters, buffers or optimizer states in floats. After end_hold. Local.
  std::optional<std::span<const std::byte>> held(std::span<const std::byte> memory) const;
  /// Has the kernel give the memory of it. Any thread.
  void prepare_hold() const;
  /// The memory of this rank's share has the state of now, also where a device computes. For those
  /// who read it while no step runs. Local.
  void bring_to_memory();
  /// The state is what was put into that memory by whoever read it from a file. Local.
  void take_from_memory();

  const StepTimes& times() const { return times_; }
  comm::LeafRange micro_batch_range() const { return range_; }
  ParameterSpace& parameters() { return *space_; }
  /// The node's, which files are written from and read into; also that of `parameters()` where no
  /// device computes.
  StateMemory memory_of_state() const { return memory_of_state_; }
  const std::vector<FlatRange>& blocks() const { return blocks_; }
  /// Whether the block belongs to this rank's share of the state.
  bool owns(std::size_t block) const;
  /// Blocks whose optimizer state this rank holds where no device computes.
  FlatRange own_blocks() const { return shares_[static_cast<std::size_t>(group_.topology.rank)]; }
  /// This rank's share of state buffer `name_index` (see state_names): pointer to flat element
  /// `element`, which lies in an own parameter block.
  float* state_at(std::size_t name_index, std::int64_t element);
  const TrainStepOptions& options() const { return options_; }

  /// The factor on the loss of the next step in f16, part of the state: what a checkpoint's step
  /// had goes back here. Local; the same on all ranks.
  const LossScale& loss_scale() const { return loss_scale_; }
  void set_loss_scale(const LossScale& scale) {
    if (options_.precision == Precision::kFloat16) loss_scale_ = scale;
  }

  /// Finished steps of the state that former ranks left in kept memory and that now is this run's;
  /// nothing when there was none, or none that is whole.
  std::optional<std::int64_t> recovered() const { return recovered_; }
  /// From now on the state after `step` steps is kept, whatever was there: after construction and
  /// after a checkpoint was loaded, not after recovery. `metadata` is kept with it. Collective.
  void begin_at(std::int64_t step, std::string_view metadata);
  bool keeps_last_step() const { return options_.keep_last_step; }
  /// Takes the update of step `step` - 1, the newest, back: the state is what it was before, and
  /// counts as that after `as_step` steps. Where the last step is kept. Collective.
  void take_back(std::int64_t step, std::int64_t as_step, std::string_view metadata);
  /// Losses of the micro-batches of step `step` - 1, the newest, in order. Local.
  std::vector<double> micro_batch_losses(std::int64_t step) const;

  /// What else is known after `step` steps, kept with the state. Local.
  void keep_metadata(std::int64_t step, std::string_view metadata);
  std::string kept_metadata(std::int64_t step) const;
  /// The result of step `step` - 1, finished by former ranks. Only after recovery.
  StepResult recovered_result() const;
  /// Passes when all ranks of the node have arrived. Collective over the node.
  void node_barrier(std::string_view what);

 private:
  struct Table {
    double* losses;                     // [micro_batches]
    double* block_squares;              // [blocks]
    double* signals_begin;              // [world_size] RankSignals
    std::span<std::byte> bytes;         // all of it
    std::span<std::byte> square_bytes;  // block_squares alone
    RankSignals* signals(int rank) const;
  };

  void make_gradients(const Objective& objective, const comm::MicroBatchPlan& plan);
  void make_device(const ParameterLayout& layout, StateImage image,
                   const comm::MicroBatchPlan& plan);
  /// The update of a step by all devices, and what is known of it. Collective.
  /// `ahead`: what to begin then, before the host waits.
  void update_on_device(std::int64_t step, double lr, Table& table,
                        const std::function<void()>& ahead);
  /// Of a step that is over.
  StepTimes device_times();
  /// What the next step's loss is scaled by, after one of this result. Of f16.
  void adapt_loss_scale(StepResult& result);
  /// Throws CommError naming the ranks and hosts whose parameters are not those of the others.
  /// Collective.
  void compare_nodes(std::int64_t step) const;
  bool compares_nodes_in(std::int64_t step) const;
  /// Does without memory that outlives the ranks unless all nodes have room. Collective.
  void choose_kept_memory(std::size_t bytes);
  /// Takes over what former ranks left, when all of it is there. Collective.
  std::optional<std::int64_t> recover(float* flat);
  /// What an optimizer begins with, where memory has something else. Own blocks.
  void clear_states(std::int64_t parameter_count);
  KeptShape kept_shape_of(const ParameterLayout& layout, FlatRange ranks, std::size_t states) const;
  /// Of the part of a table that does not depend on the number of ranks.
  std::size_t fixed_table_bytes() const;
  StepResult result_of(std::int64_t step, const Table& table) const;

  void update(std::int64_t step, double lr, Table& table);
  void change_range(std::int64_t step, double lr, float scale, FlatRange range,
                    const float* gradients);
  void update_range(std::int64_t step, double lr, float scale, FlatRange range,
                    const float* gradients);
  double norm_of(const Table& table) const;
  Table table_of(std::int64_t step) const;

  RankGroup group_;
  TrainStepOptions options_;
  Optimizer optimizer_;
  comm::NodeRelay relay_;
  comm::LeafRange range_;  // of this rank's micro-batches
  std::vector<FlatRange> blocks_;
  std::vector<FlatRange> shares_;  // block indices, one a rank
  std::vector<comm::ByteRange> losses_of_rank_, signals_of_rank_, squares_of_rank_, flat_of_rank_;
  std::unique_ptr<comm::NodeMemory> memory_;
  StateMemory memory_of_state_;
  std::unique_ptr<KeptState> kept_;            // null unless the last step is kept
  std::unique_ptr<DeviceState> device_;        // null unless a device computes
  std::vector<std::int64_t> counters_before_;  // a device's last step
  std::optional<std::int64_t> recovered_;
  LossScale loss_scale_;
  bool begun_ = false;  // the next step, on a device
  std::unique_ptr<ParameterSpace> space_;
  std::unique_ptr<GradientSource> gradients_;
  std::vector<float> summed_;   // own slice, when clipping needs it twice
  std::vector<float*> states_;  // element 0 of each flat state buffer
  std::byte* tables_ = nullptr;
  std::size_t table_bytes_ = 0;
  StepTimes times_;
  BeforeChange before_change_;
};

}  // namespace lockstep::trainer
