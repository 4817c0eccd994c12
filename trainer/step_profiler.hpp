#pragma once
// A trace of some steps of a rank: what torch's profiler (Kineto) sees, with the parts of a step as
// named spans, as a JSON file that Perfetto and chrome://tracing open. Used by Trainer. One thread.

#include <cstdint>
#include <string>

namespace lockstep::trainer {

struct ProfileOptions {
  std::int64_t first = 1, last = 1;  ///< steps as the ledger counts, both included
  std::string path;                  ///< of the file
  bool gpu = false;                  ///< with a device's kernels
};

class StepProfiler {
 public:
  explicit StepProfiler(ProfileOptions options);
  /// Before and after step `step` is computed.
  void before(std::int64_t step);
  void after(std::int64_t step);
  /// Writes what there is, as the run ends. Says whether there is a file.
  bool finish();

 private:
  ProfileOptions options_;
  bool traces_ = false;
  bool written_ = false;
};

}  // namespace lockstep::trainer
