#pragma once
// Where each tensor of a model lies in the flat state: a pure function of the model, equal on
// every rank, and equal to the data region of the checkpoint files. Torch-free values, any thread.

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::trainer {

/// One tensor's place. Offsets count elements from the start of its region.
struct FlatTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

/// A half-open range of elements.
struct FlatRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t count() const { return end - begin; }
  bool operator==(const FlatRange&) const = default;
};

/// The flat region is [trained parameters f32 | buffers f32]. Tensors lie dense, as the safetensors
/// format asks; those whose length is a multiple of 16 come first, so that nearly all start on a
/// cache line.
struct ParameterLayout {
  std::vector<FlatTensor> parameters;  ///< trained, f32, from 0
  std::vector<FlatTensor> buffers;     ///< averaged over micro-batches, f32, from parameter_count
  std::vector<FlatTensor> constants;   ///< frozen parameters, f32, a region of their own
  std::vector<FlatTensor> counters;    ///< integer buffers, i64, a region of their own
  std::int64_t parameter_count = 0;
  std::int64_t buffer_count = 0;
  std::int64_t constant_count = 0;
  std::int64_t counter_count = 0;

  std::int64_t flat_count() const { return parameter_count + buffer_count; }
  /// Names, shapes and offsets as text: equal texts are equal layouts.
  std::string describe() const;
};

/// Gives `tensors` their offsets from `start`, multiples of 16 first, otherwise in order.
/// Returns the end.
std::int64_t place_dense(std::vector<FlatTensor>& tensors, std::int64_t start);

/// The flat region cut into blocks: the unit of ownership, of norms and of checkpoint extents.
/// A pure function of the layout, never of the rank count. No block spans parameters and buffers.
std::vector<FlatRange> cut_blocks(const ParameterLayout& layout, std::int64_t most_blocks = 512,
                                  std::int64_t least_floats = 1024);

/// Contiguous runs of whole blocks, one a rank, as even as whole blocks allow; may be empty.
/// Returns block indices, not elements.
std::vector<FlatRange> share_blocks(const std::vector<FlatRange>& blocks, int ranks);

}  // namespace lockstep::trainer
