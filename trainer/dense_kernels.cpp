#include "trainer/dense_kernels.hpp"

#include "base/error.hpp"

// Every a * b + c below is one fused operation (this file is compiled with -ffp-contract=fast), so
// both builds of the code give the same bits.
namespace lockstep::trainer {
namespace {

constexpr long kStretch = 256;         // steps that a tile of the right factor spans
constexpr long kForwardOutputs = 512;  // outputs whose sums wait in the cache for more steps

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

// 32 vector registers of 16 floats.
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
namespace v4 {
constexpr int kLanes = 16, kRows = 6, kVectors = 4;
#include "trainer/dense_kernels_code.hpp"
}  // namespace v4
#pragma GCC pop_options

// 16 vector registers of 8 floats.
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace v3 {
constexpr int kLanes = 8, kRows = 6, kVectors = 2;
#include "trainer/dense_kernels_code.hpp"
}  // namespace v3
#pragma GCC pop_options

#endif

VectorLevel detect() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4") != 0) return VectorLevel::kV4;
  if (__builtin_cpu_supports("x86-64-v3") != 0) return VectorLevel::kV3;
#endif
  return VectorLevel::kNone;
}

struct Kernels {
  void (*forward)(const DenseForward& call);
  void (*outer)(const OuterSum& call);
};

Kernels kernels_of(VectorLevel level) {
  LOCKSTEP_EXPECT(level != VectorLevel::kNone && level <= best_vector_level(),
                  "dense kernels on a processor without their instructions");
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (level == VectorLevel::kV4) return {v4::forward, v4::outer};
  return {v3::forward, v3::outer};
#else
  return {};
#endif
}

}  // namespace

VectorLevel best_vector_level() {
  static const VectorLevel best = detect();
  return best;
}

void dense_forward(const DenseForward& call, VectorLevel level) { kernels_of(level).forward(call); }

void outer_sum(const OuterSum& call, VectorLevel level) { kernels_of(level).outer(call); }

}  // namespace lockstep::trainer
