// A crash at every moment of an update: the state is brought to one step, or is known to be lost.

#include "trainer/kept_state.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kParameters = 12;
constexpr std::int64_t kFlat = 16;  // the last block holds buffers, which have no optimizer state

/// Live values and kept memory of one node with one rank, as shared memory has them.
struct World {
  std::vector<float> flat = std::vector<float>(kFlat, 1.0F);
  std::vector<float> state = std::vector<float>(kParameters, 2.0F);
  std::vector<std::byte> memory = std::vector<std::byte>(KeptState::bytes_needed(shape()));

  static KeptShape shape() {
    return {.blocks = {{0, 6}, {6, 12}, {12, 16}},
            .held_blocks = {0, 3},
            .parameter_count = kParameters,
            .states = 1,
            .counter_count = 1,
            .identity = "this run"};
  }
  KeptState open() { return {shape(), {flat.data(), {state.data()}}, memory}; }
  bool operator==(const World& other) const { return flat == other.flat && state == other.state; }

  void start(std::int64_t step) {
    auto kept = open();
    kept.invalidate();
    for (std::int64_t block = 0; block < 3; ++block) kept.stamp(block, step);
    const std::int64_t counter = step;
    kept.start(step, std::span(&counter, 1), "at " + std::to_string(step));
  }

  void change(FlatRange part, std::int64_t step) {
    for (auto i = part.begin; i < part.end; ++i) {
      flat[static_cast<std::size_t>(i)] += 0.5F * static_cast<float>(step + 1);
      if (i < kParameters) state[static_cast<std::size_t>(i)] *= 1.25F;
    }
  }

  /// One step in parts of 4 elements; `moment` is called at every moment of it.
  void update(std::int64_t step, const std::function<void()>& moment) {
    auto kept = open();
    const std::int64_t counter = step + 1;
    kept.keep_counters(step + 1, std::span(&counter, 1));
    moment();
    const auto blocks = shape().blocks;
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      kept.open(static_cast<std::int64_t>(block), step);
      moment();
      for (auto begin = blocks[block].begin; begin < blocks[block].end; begin += 4) {
        const FlatRange part{begin, std::min(begin + 4, blocks[block].end)};
        kept.save(part);
        moment();
        change({part.begin, part.begin + 1}, step);  // a part can be cut in the middle
        moment();
        change({part.begin + 1, part.end}, step);
        moment();
        kept.add(part);
      }
      kept.close(static_cast<std::int64_t>(block), step);
      moment();
    }
  }
};

/// What the next attempt does with what it finds. Returns the step, or nothing.
std::optional<std::int64_t> recover(World& world) {
  auto kept = world.open();
  if (!kept.holds_state()) return std::nullopt;
  const auto finished = kept.finished({0, 3}).value();
  if (finished.most > finished.least + 1) return std::nullopt;
  for (std::int64_t block = 0; block < 3; ++block) {
    if (!kept.bring_to(block, finished.least)) return std::nullopt;
  }
  const auto counters = kept.counters(finished.least);
  if (!counters || counters->at(0) != finished.least) return std::nullopt;
  return finished.least;
}

TEST(KeptState, IsBroughtToAFinishedStepAfterACrashAtAnyMoment) {
  World world;
  world.start(7);
  std::vector<World> after{world};  // step 7, 8, ...
  int moments = 0;
  for (std::int64_t step = 7; step < 11; ++step) {
    World next = world;
    next.update(step, [] {});
    after.push_back(next);
    world.update(step, [&] {
      World crashed = world;
      const auto found = recover(crashed);
      ASSERT_TRUE(found);
      ASSERT_TRUE(*found == step || *found == step + 1);
      ASSERT_EQ(crashed, after[static_cast<std::size_t>(*found - 7)]);
      ++moments;
    });
  }
  EXPECT_EQ(moments, 4 * (1 + 3 * 2 + 5 * 3));
}

TEST(KeptState, LosesAtMostTheStepUnderWay) {
  World world;
  world.start(0);
  world.update(0, [] {});
  EXPECT_EQ(recover(world), 1);

  world.update(1, [] {});
  EXPECT_EQ(recover(world), 2);
}

TEST(KeptState, IsLostWhenACrashScribbledIntoIt) {
  for (std::size_t i = 0; i < kFlat; ++i) {
    World world;
    world.start(3);
    world.update(3, [] {});
    world.flat[i] += 1;
    EXPECT_FALSE(recover(world)) << i;
  }
  World world;
  world.start(3);
  world.state[5] = 0;
  EXPECT_FALSE(recover(world));
}

TEST(KeptState, IsNotThereBeforeItsStartAndAfterItWasInvalidated) {
  World world;
  EXPECT_FALSE(recover(world));

  world.start(3);
  EXPECT_TRUE(recover(world));
  world.open().invalidate();
  EXPECT_FALSE(recover(world));
}

TEST(KeptState, IsNotThatOfAnotherRun) {
  World world;
  world.start(3);
  auto shape = World::shape();
  shape.identity = "another run";

  EXPECT_FALSE(KeptState(shape, {world.flat.data(), {world.state.data()}}, world.memory)
                   .holds_state());
}

TEST(KeptState, GivesTheNewestMetadataThatIsNotLaterThanTheStep) {
  World world;
  world.start(3);
  auto kept = world.open();
  EXPECT_EQ(kept.metadata(3), "at 3");

  kept.keep_metadata(5, "at 5");
  EXPECT_EQ(kept.metadata(4), "at 3");
  EXPECT_EQ(kept.metadata(5), "at 5");

  kept.keep_metadata(5, "at 5, best");
  EXPECT_EQ(kept.metadata(6), "at 5, best");
  EXPECT_EQ(kept.metadata(2), "");
}

}  // namespace
}  // namespace lockstep::trainer
