// A crash at every moment of an update: the state is brought to one step, or is known to be lost.

#include "trainer/kept_state.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kParameters = 12;
constexpr std::int64_t kFlat = 16;  // the last block holds buffers, which have no optimizer state

/// Live values and kept memory of one node with one rank, as shared memory has them.
struct World {
  bool holds = false;
  std::vector<float> flat = std::vector<float>(kFlat, 1.0F);
  std::vector<float> state = std::vector<float>(kParameters, 2.0F);
  std::vector<std::byte> memory = std::vector<std::byte>(KeptState::bytes_needed(shape()));

  KeptShape shape() const {
    return {.blocks = {{0, 6}, {6, 12}, {12, 16}},
            .held_blocks = {0, 3},
            .parameter_count = kParameters,
            .states = 1,
            .counter_count = 1,
            .holds = holds,
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
  void update(
      KeptState& kept, std::int64_t step, const std::function<void()>& moment = [] {}) {
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
    kept.end_update();
  }
  void update(std::int64_t step) {
    auto kept = open();
    update(kept, step);
  }

  std::vector<float> held(const KeptState& kept, std::vector<float>& live) const {
    std::vector<float> values(live.size());
    const auto bytes = kept.held(std::as_bytes(std::span(live))).value();
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
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
  for (const bool holds : {false, true}) {
    World world{.holds = holds};
    world.start(7);
    std::vector<World> after{world};  // step 7, 8, ...
    for (std::int64_t step = 7; step < 12; ++step) {
      after.push_back(after.back());
      after.back().update(step);
    }
    int moments = 0;
    auto kept = world.open();
    for (std::int64_t step = 7; step < 11; ++step) {
      if (holds && step != 9) kept.hold();
      world.update(kept, step, [&] {
        World crashed = world;
        const auto found = recover(crashed);
        ASSERT_TRUE(found);
        ASSERT_TRUE(*found == step || *found == step + 1);
        ASSERT_EQ(crashed, after[static_cast<std::size_t>(*found - 7)]);
        crashed.update(*found);
        ASSERT_EQ(crashed, after[static_cast<std::size_t>(*found - 6)]);
        ++moments;
      });
    }
    EXPECT_EQ(moments, 4 * (1 + 3 * 2 + 5 * 3));
  }
}

TEST(KeptState, LosesAtMostTheStepUnderWay) {
  World world;
  world.start(0);
  world.update(0);
  EXPECT_EQ(recover(world), 1);

  world.update(1);
  EXPECT_EQ(recover(world), 2);
}

TEST(KeptState, HoldsTheStateOfOneStepThroughLaterUpdates) {
  World world{.holds = true};
  world.start(0);
  auto kept = world.open();
  for (std::int64_t step = 0; step < 12; step += 3) {
    const World before = world;
    kept.hold();
    for (std::int64_t later = step; later < step + 3; ++later) {
      world.update(kept, later);
      EXPECT_EQ(world.held(kept, world.flat), before.flat);
      EXPECT_EQ(world.held(kept, world.state), before.state);
    }
  }
}

TEST(KeptState, HoldsAStateThatIsChangedByNoUpdate) {
  World world{.holds = true};
  world.start(4);
  auto kept = world.open();
  world.update(kept, 4);
  const World before = world;

  kept.hold();
  kept.end_hold({0, 3});
  std::ranges::fill(world.flat, 9.0F);

  EXPECT_EQ(world.held(kept, world.flat), before.flat);
  EXPECT_EQ(world.held(kept, world.state), before.state);
  EXPECT_FALSE(kept.held(std::as_bytes(std::span(before.flat)))) << "memory of nobody";
}

TEST(KeptState, HoldsALargeStateWhereItsFilesHaveItsPages) {
  constexpr std::int64_t kBegin = 700, kMiddle = 1'000'003, kEnd = 2'000'000;
  const KeptShape shape{.blocks = {{0, kBegin}, {kBegin, kMiddle}, {kMiddle, kEnd}},
                        .held_blocks = {1, 3},
                        .parameter_count = kMiddle,
                        .states = 2,
                        .holds = true,
                        .identity = {}};
  std::vector<float> flat(kEnd), one(kMiddle), other(kMiddle);
  for (std::size_t i = 0; i < flat.size(); ++i) flat[i] = static_cast<float>(i);
  for (std::size_t i = 0; i < one.size(); ++i) other[i] = -(one[i] = static_cast<float>(i) / 2);
  std::vector<std::byte> memory(KeptState::bytes_needed(shape) + 4096);
  auto* const page = memory.data() + 4096 - reinterpret_cast<std::uintptr_t>(memory.data()) % 4096;
  KeptState kept(shape, {flat.data(), {one.data(), other.data()}},
                 {page, KeptState::bytes_needed(shape)});
  kept.prepare_hold({1, 3});
  kept.hold();
  for (std::int64_t block = 1; block < 3; ++block) {
    const auto range = shape.blocks[static_cast<std::size_t>(block)];
    kept.open(block, 0);
    kept.save(range);
    kept.close(block, 0);
  }
  kept.end_update();

  const auto expect_held = [&](const std::vector<float>& live, std::int64_t begin, std::int64_t end,
                               std::int64_t before) {
    const auto piece = std::as_bytes(std::span(live))
                           .subspan(static_cast<std::size_t>(begin) * 4,
                                    static_cast<std::size_t>(end - begin) * 4);
    const auto held = kept.held(piece).value();
    EXPECT_TRUE(std::ranges::equal(held, piece));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(held.data()) % 4096,
              static_cast<std::uintptr_t>(before + begin) * 4 % 4096);
  };
  expect_held(flat, kBegin, kMiddle, 0);
  expect_held(flat, kMiddle, kEnd, 0);
  expect_held(one, kBegin, kMiddle, 0);
  expect_held(other, kBegin, kMiddle, kMiddle);
}

TEST(KeptState, IsLostWhenACrashScribbledIntoIt) {
  for (std::size_t i = 0; i < kFlat; ++i) {
    World world;
    world.start(3);
    world.update(3);
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
  auto shape = world.shape();
  shape.identity = "another run";

  EXPECT_FALSE(
      KeptState(shape, {world.flat.data(), {world.state.data()}}, world.memory).holds_state());
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
