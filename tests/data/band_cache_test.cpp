#include "data/band_cache.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "data/private_memory.hpp"

namespace lockstep::data::detail {
namespace {

using Hold = BandCache::Hold;

constexpr std::size_t kBandBytes = 100;

BandCache cache_in(const BandCacheShape& shape, std::span<std::byte> memory) {
  return BandCache(shape, memory);
}

/// Fills the band with its number. Returns how the band was found.
Hold use(BandCache& cache, std::int64_t band) {
  auto place = cache.take(band);
  const auto hold = place.hold;
  if (hold == Hold::kFill) {
    std::memset(place.bytes, static_cast<int>(band), kBandBytes);
    cache.publish(place);
  }
  if (place.hold == Hold::kRead) {
    for (std::size_t i = 0; i < kBandBytes; ++i) {
      EXPECT_EQ(place.bytes[i], static_cast<std::byte>(band)) << "band " << band;
    }
    cache.release(place);
  }
  return hold;
}

TEST(BandCache, DecodesEachBandOnceWhenAllFit) {
  const auto shape = shape_band_cache(20, kBandBytes, 1 << 20, 8);
  const PrivateMemory memory(shape.bytes());
  auto cache = cache_in(shape, memory.bytes());

  EXPECT_EQ(shape.fixed, 20);
  EXPECT_EQ(shape.ring, 0);
  for (std::int64_t band = 0; band < 20; ++band) EXPECT_EQ(use(cache, band), Hold::kFill);
  for (std::int64_t band = 0; band < 20; ++band) EXPECT_EQ(use(cache, band), Hold::kRead);
}

TEST(BandCache, KeepsTheFirstBandsForGoodAndTheOthersInTurn) {
  const auto shape = shape_band_cache(100, kBandBytes, 12'000, 8);
  const PrivateMemory memory(shape.bytes());
  auto cache = cache_in(shape, memory.bytes());
  ASSERT_EQ(shape.ring, 8);
  ASSERT_GT(shape.fixed, 10);
  ASSERT_LT(shape.fixed, 60);

  for (std::int64_t band = 0; band < 100; ++band) EXPECT_EQ(use(cache, band), Hold::kFill);

  for (std::int64_t band = 92; band < 100; ++band) EXPECT_EQ(use(cache, band), Hold::kRead);
  for (std::int64_t band = 0; band < shape.fixed; ++band) EXPECT_EQ(use(cache, band), Hold::kRead);
  EXPECT_EQ(use(cache, shape.fixed), Hold::kFill);
}

TEST(BandCache, LeavesAPlaceThatIsReadAlone) {
  const BandCacheShape shape{.bands = 100, .band_bytes = kBandBytes, .fixed = 0, .ring = 8};
  const PrivateMemory memory(shape.bytes());
  auto cache = cache_in(shape, memory.bytes());
  auto held = cache.take(1);
  std::memset(held.bytes, 1, kBandBytes);
  cache.publish(held);

  for (std::int64_t band = 2; band < 60; ++band) use(cache, band);

  EXPECT_EQ(held.bytes[0], std::byte{1});
  EXPECT_EQ(cache.find(1).hold, Hold::kRead);
}

TEST(BandCache, SaysThatSomebodyElseIsDecoding) {
  const auto shape = shape_band_cache(4, kBandBytes, 1 << 20, 0);
  const PrivateMemory memory(shape.bytes());
  auto one = cache_in(shape, memory.bytes());
  auto other = cache_in(shape, memory.bytes());
  auto place = one.take(2);
  ASSERT_EQ(place.hold, Hold::kFill);

  EXPECT_EQ(other.take(2).hold, Hold::kBusy);
  EXPECT_EQ(other.find(2).hold, Hold::kNone);
  one.abandon(place);
  EXPECT_EQ(use(other, 2), Hold::kFill);
}

RC_GTEST_PROP(BandCache, NeverTakesMoreThanItsBudget, ()) {
  const auto bands = *rc::gen::inRange<std::int64_t>(0, 3000);
  const auto bytes = *rc::gen::inRange<std::size_t>(0, 5000);
  const auto budget = *rc::gen::inRange<std::size_t>(0, 1 << 20);
  const auto ring = *rc::gen::inRange<std::int64_t>(0, 100);

  const auto shape = shape_band_cache(bands, bytes, budget, ring);

  RC_ASSERT(shape.bytes() <= budget);
  RC_ASSERT(shape.fixed >= 0 && shape.ring >= 0 && shape.fixed <= bands);
}

TEST(BandCache, WithoutMemoryHasNoPlace) {
  BandCache cache({}, {});

  EXPECT_EQ(cache.take(0).hold, Hold::kNone);
  EXPECT_EQ(cache.find(0).hold, Hold::kNone);
}

void use_at_random(BandCache& cache, std::uint64_t seed, std::int64_t bands) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20'000; ++i) {
    use(cache, static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bands)));
  }
}

TEST(BandCache, IsSharedByThreads) {
  const BandCacheShape shape{.bands = 60, .band_bytes = kBandBytes, .fixed = 10, .ring = 16};
  const PrivateMemory memory(shape.bytes());
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      auto cache = cache_in(shape, memory.bytes());
      use_at_random(cache, seed, 60);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(BandCache, IsSharedByProcesses) {
  const BandCacheShape shape{.bands = 60, .band_bytes = kBandBytes, .fixed = 10, .ring = 16};
  auto* memory = static_cast<std::byte*>(
      ::mmap(nullptr, shape.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  auto cache = cache_in(shape, {memory, shape.bytes()});
  const auto child = ::fork();
  use_at_random(cache, child == 0 ? 1 : 2, 60);
  if (child == 0) ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  ::munmap(memory, shape.bytes());
}

}  // namespace
}  // namespace lockstep::data::detail
