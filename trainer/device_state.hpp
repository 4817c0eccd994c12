#pragma once
// The state of a run on a rank's device: all parameters and buffers, the optimizer state of the
// blocks that the rank owns, and their update. In the node's memory lies an image of the state, as
// checkpoints are written from and read into; devices bring it up to date while training goes on.
// Used by TrainStep. One rank, one thread; calls only enqueue where nothing else is said.

#include <memory>
#include <vector>

#include "comm/device_exchange.hpp"
#include "comm/device_stopwatch.hpp"
#include "trainer/device_context.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/parameter_layout.hpp"
#include "trainer/parameter_space.hpp"
#include "trainer/partial_sums.hpp"

namespace lockstep::trainer {

/// The state in a node's memory, laid out as checkpoint files have it.
struct StateImage {
  float* flat = nullptr;       ///< [flat_count] f32
  float* constants = nullptr;  ///< [constant_count] f32
  std::vector<float*> states;  ///< of each kind, [parameter_count] f32
  std::span<std::byte> bytes;  ///< of all of it
};

struct DeviceStateOptions {
  bool invariant = true;
  std::int64_t micro_batches = 1;  ///< of the global batch
  std::vector<comm::LeafRange> micro_batches_of_rank;
  ShortType shorts = ShortType::kNone;  ///< the model computes with such a copy of parameters
  bool can_take_back = false;           ///< keep what an update changes
  bool captures_graphs = false;         ///< of micro-batches in which nothing is exchanged
};

class DeviceState {
 public:
  /// `blocks`: of cut_blocks. What `group` refers to and `device` must outlive this. Throws
  /// DeviceError when the device has too little memory. Collective.
  DeviceState(RankGroup group, DeviceContext& device, const ParameterLayout& layout,
              const std::vector<FlatRange>& blocks, StateImage image, DeviceStateOptions options);
  ~DeviceState();
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;

  /// For the model's tensors.
  StateMemory memory() const;
  /// Whether this rank updates the block and brings it into the image.
  bool owns(std::size_t block) const { return owned_[block]; }
  /// For the gradients of this state, once; this must outlive them. `barrier`: of the node.
  std::unique_ptr<PartialSums> sums(comm::NodeBarrier& barrier);
  /// All devices have rank 0's parameters, buffers and constants, and the image the constants.
  /// Waits. Collective.
  void share_initial();

  /// The update of a step from the gradients' sums (see PartialSums::sum), and parameters for
  /// everybody. Collective.
  void update(const UpdateNumbers& numbers, GradientScale how, const float* sums);
  /// Enqueues the copy of the step's results to the host: sums of squared gradients, one a block,
  /// and `losses`, the device's, of this rank's micro-batches.
  void begin_results(std::span<const float> losses);
  struct Results {
    std::span<const double> squares;
    std::span<const float> losses;
  };
  /// Returns when they are there; what was enqueued later goes on. Throws as NcclGroup::wait does.
  Results wait();

  /// Before the first micro-batch of a step.
  void begin_step() {
    whole_.begin(device_.compute);
    computing_.begin(device_.compute);
  }
  /// Seconds of a step on the device, when it is over.
  struct Times {
    double computing = 0;  ///< forward and backward passes
    double moving = 0;     ///< between devices, beside them and after
    double exposed = 0;    ///< of that, when nothing was computed
    double updating = 0;
  };
  Times take_times();

  /// The state is what it was before the last update. Where it can be; once an update. Waits.
  /// Collective.
  void take_back();
  /// Returns when the event is done; throws as `wait`.
  void wait_for(comm::DeviceEvent event, std::string_view what) { nccl_.wait_for(event, what); }
  bool has_failed() const { return nccl_.has_failed(); }

  /// The image's values become the device's. Waits.
  void take_image();
  /// This rank's part of the image becomes what it is now; the next update waits for that.
  void begin_image();
  /// Returns when it has.
  void end_image();
  /// All parameters and buffers, as this device has them. Waits.
  std::vector<float> copy_of_all();

 private:
  class Sums;
  /// Own parameters of a bucket, and where their optimizer states begin in `states_`.
  struct Slice {
    FlatRange range;
    std::int64_t state = 0;
  };

  template <class Value>
  Value* allocate(std::int64_t count);
  /// Of all ranks' blocks.
  const double* squares() const { return group_.world.size() == 1 ? own_squares_ : squares_; }
  void pin(std::span<std::byte> memory);
  /// Short copies of what other ranks, or all, have updated.
  void shorten_others();
  void shorten_all();
  /// Each piece that an update changes, and where its like before the update is kept.
  template <class Visit>
  void for_each_changed(Visit visit);
  void release();
  void wait_for_copies(const char* what);

  RankGroup group_;
  DeviceContext& device_;
  const ParameterLayout layout_;
  const std::size_t block_count_;
  const std::int64_t block_floats_;
  StateImage image_;
  DeviceStateOptions options_;
  comm::NcclGroup nccl_;
  comm::DeviceExchange exchange_;
  comm::DeviceStopwatch whole_, computing_;
  std::vector<bool> owned_;
  std::vector<Slice> slices_;
  std::int64_t square_count_ = 0;
  std::vector<void*> memory_;  // all that was allocated
  float* flat_ = nullptr;
  float* constants_ = nullptr;
  std::vector<float*> states_;
  void* shorts_ = nullptr;
  std::vector<float*> before_;     // like `states_`, then parameters in their order, then buffers
  double* own_squares_ = nullptr;  // 0 where a block is another rank's
  double* squares_ = nullptr;
  float* scale_ = nullptr;
  std::vector<double> host_squares_;
  std::vector<float> host_losses_;
  comm::DeviceEvent results_ = nullptr;
  comm::DeviceStream copies_ = nullptr;
  comm::DeviceEvent before_copies_ = nullptr, after_copies_ = nullptr;
  std::vector<void*> pinned_;
};

}  // namespace lockstep::trainer
