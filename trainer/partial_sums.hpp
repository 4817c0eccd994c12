#pragma once
// Where a rank leaves the gradients of its micro-batches, folded as far as the tree allows, and
// what makes the sums of all ranks out of them: in the node's memory (NodeSums) or on a device
// (DeviceSums). Used by AutogradGradients. One rank, one thread at a time.

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/gradient_exchange.hpp"
#include "trainer/gradient_source.hpp"
#include "trainer/parameter_layout.hpp"

namespace lockstep::trainer {

class PartialSums {
 public:
  virtual ~PartialSums() = default;

  /// Of one partial: laid out like the state's flat memory.
  virtual std::int64_t floats() const = 0;
  /// Tree nodes that this rank folds alone, left to right.
  virtual const std::vector<comm::LeafRange>& subtrees() const = 0;
  /// Where the gradient of subtrees()[i] goes.
  virtual float* partial(std::size_t i) = 0;
  /// Further room like a partial, one for each depth from 0 on; made when first asked for.
  virtual float* room(std::size_t depth) = 0;
  /// Adds `from` to `into`, both like a partial, in `range`.
  virtual void add(float* into, const float* from, FlatRange range) = 0;

  /// Whether `ready` should be called while the last micro-batch's backward pass goes on. Not
  /// where there is nothing to gain.
  virtual bool goes_early() const { return false; }
  /// Parameters' gradients from `begin` on are in all partials. Collective.
  virtual void ready(std::int64_t /*begin*/) {}

  // As GradientSource.
  virtual void exchange() = 0;
  virtual const float* sum(std::int64_t begin, std::int64_t end, float* room) = 0;
  virtual void finish() = 0;
  virtual comm::NodeBarrier& barrier() = 0;
};

class NodeSums final : public PartialSums {
 public:
  /// Throws EnvironmentError when shared memory has too little room. Collective.
  NodeSums(RankGroup group, comm::GradientExchangeOptions options)
      : floats_(options.floats),
        exchange_(group.world, group.node, group.topology, std::move(options)) {}

  std::int64_t floats() const override { return floats_; }
  const std::vector<comm::LeafRange>& subtrees() const override { return exchange_.subtrees(); }
  float* partial(std::size_t i) override { return exchange_.partial(i); }
  float* room(std::size_t depth) override;
  void add(float* into, const float* from, FlatRange range) override;
  void exchange() override { exchange_.exchange(); }
  const float* sum(std::int64_t begin, std::int64_t end, float* room) override {
    exchange_.fold(begin, end, room);
    return room;
  }
  void finish() override { exchange_.finish(); }
  comm::NodeBarrier& barrier() override { return exchange_.barrier(); }

 private:
  std::int64_t floats_;
  comm::GradientExchange exchange_;
  std::vector<std::vector<float>> rooms_;
};

}  // namespace lockstep::trainer
