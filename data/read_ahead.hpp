#pragma once
// Threads that bring the samples of coming micro-batches into memory while a Loader reads the
// present one. They change when samples are decoded, never which or in what order they are read.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "data/loader_plan.hpp"

namespace lockstep::data {

/// Brings samples of an epoch into memory, where they are soon read from. Belongs to one thread.
using BringSamples = std::function<void(std::span<const std::int64_t> samples, std::int64_t epoch)>;

class ReadAhead {
 public:
  /// A thread for each of `bring`; together they stay within `batches` micro-batches of the reader.
  /// What one of them throws ends that thread alone: the reader meets the cause in its own time.
  ReadAhead(const LoaderPlan& plan, std::vector<BringSamples> bring, std::int64_t batches);
  /// Stops after the samples in progress.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// The reader, any one thread, goes on to micro-batch `number` of the plan, counted from 0.
  void reached(std::int64_t number);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::data
