#include "trainer/partial_sums.hpp"

#include "comm/fold.hpp"

namespace lockstep::trainer {

float* NodeSums::room(std::size_t depth) {
  if (rooms_.size() <= depth) rooms_.resize(depth + 1);
  auto& room = rooms_[depth];
  room.resize(static_cast<std::size_t>(floats_));
  return room.data();
}

void NodeSums::add(float* into, const float* from, FlatRange range) {
  comm::add_into(into + range.begin, from + range.begin, static_cast<std::size_t>(range.count()));
}

}  // namespace lockstep::trainer
