#include "trainer/parameter_layout.hpp"

#include <algorithm>

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kLineFloats = 16;

void append_blocks(std::vector<FlatRange>& blocks, FlatRange region, std::int64_t length) {
  for (auto begin = region.begin; begin < region.end; begin += length) {
    blocks.push_back({begin, std::min(begin + length, region.end)});
  }
}

void describe_region(std::string& text, const char* region,
                     const std::vector<FlatTensor>& tensors) {
  for (const auto& tensor : tensors) {
    text += std::string(region) + " " + tensor.name + " [";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
    }
    text += "] at " + std::to_string(tensor.offset) + "\n";
  }
}

}  // namespace

std::string ParameterLayout::describe() const {
  std::string text;
  describe_region(text, "parameter", parameters);
  describe_region(text, "buffer", buffers);
  describe_region(text, "constant", constants);
  describe_region(text, "counter", counters);
  return text;
}

std::int64_t place_dense(std::vector<FlatTensor>& tensors, std::int64_t start) {
  std::stable_partition(tensors.begin(), tensors.end(),
                        [](const FlatTensor& tensor) { return tensor.count % kLineFloats == 0; });
  for (auto& tensor : tensors) {
    tensor.offset = start;
    start += tensor.count;
  }
  return start;
}

std::vector<FlatRange> cut_blocks(const ParameterLayout& layout, std::int64_t most_blocks,
                                  std::int64_t least_floats) {
  const auto even = (layout.flat_count() + most_blocks - 1) / most_blocks;
  const auto length =
      (std::max(even, std::int64_t{1}) + least_floats - 1) / least_floats * least_floats;
  std::vector<FlatRange> blocks;
  append_blocks(blocks, {0, layout.parameter_count}, length);
  append_blocks(blocks, {layout.parameter_count, layout.flat_count()}, length);
  return blocks;
}

std::vector<FlatRange> share_blocks(const std::vector<FlatRange>& blocks, int ranks) {
  const auto count = static_cast<std::int64_t>(blocks.size());
  std::vector<FlatRange> shares;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    shares.push_back({count * rank / ranks, count * (rank + 1) / ranks});
  }
  return shares;
}

}  // namespace lockstep::trainer
