#include "comm/fold.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdint>
#include <vector>

#include "base/error.hpp"

namespace lockstep::comm {
namespace {

constexpr auto kLoad = FoldStep::Kind::kLoad;
constexpr auto kAdd = FoldStep::Kind::kAdd;

template <class Value>
using Columns = std::vector<std::vector<Value>>;

/// Partials of very different sizes, so that another order of additions has other bits.
template <class Value>
Columns<Value> columns(std::size_t partials, std::size_t length) {
  Columns<Value> result(partials, std::vector<Value>(length));
  for (std::size_t p = 0; p < partials; ++p) {
    for (std::size_t i = 0; i < length; ++i) {
      const auto mixed = static_cast<std::uint32_t>((p * 7919 + i) * 2654435761U);
      result[p][i] = static_cast<Value>(static_cast<std::int32_t>(mixed)) *
                     static_cast<Value>(p % 3 == 0 ? 1e-7 : 1.0 / 3);
    }
  }
  return result;
}

template <class Value>
std::vector<const Value*> pointers(const Columns<Value>& columns) {
  std::vector<const Value*> result;
  for (const auto& column : columns) result.push_back(column.data());
  return result;
}

std::vector<LeafRange> single_leaves(std::int64_t count) {
  std::vector<LeafRange> leaves;
  for (std::int64_t i = 0; i < count; ++i) leaves.push_back({i, i + 1});
  return leaves;
}

template <class Value>
Value expected_sum(const Columns<Value>& columns, std::size_t i) {
  std::vector<Value> leaves;
  for (const auto& column : columns) leaves.push_back(column[i]);
  return tree_sum(std::span<const Value>(leaves));
}

template <class Value>
class FoldPartials : public ::testing::Test {};
using Values = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FoldPartials, Values);

TYPED_TEST(FoldPartials, SumsEveryElementByTheTreeAcrossTiles) {
  for (const std::size_t count : {1U, 2U, 3U, 5U, 8U, 13U}) {
    const auto inputs = columns<TypeParam>(count, 2500);
    std::vector<TypeParam> out(2500);

    fold_partials(pointers(inputs),
                  fold_program(single_leaves(std::ssize(inputs)), std::ssize(inputs)), out.data(),
                  0, out.size());

    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], expected_sum(inputs, i)) << i;
  }
}

TYPED_TEST(FoldPartials, TouchesOnlyTheElementsAskedFor) {
  const auto inputs = columns<TypeParam>(4, 3000);
  const auto program = fold_program(single_leaves(4), 4);
  std::vector<TypeParam> out(3000, TypeParam{42});

  fold_partials(pointers(inputs), program, out.data(), 17, 2111);
  fold_partials(pointers(inputs), program, out.data(), 5, 5);

  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(out[i], 17 <= i && i < 2111 ? expected_sum(inputs, i) : TypeParam{42}) << i;
  }
}

TYPED_TEST(FoldPartials, MayWriteItsResultOverAnyOfThePartials) {
  for (std::size_t target = 0; target < 5; ++target) {
    const auto inputs = columns<TypeParam>(5, 1500);
    auto overwritten = inputs;

    fold_partials(pointers(overwritten), fold_program(single_leaves(5), 5),
                  overwritten[target].data(), 0, 1500);

    for (std::size_t i = 0; i < 1500; ++i) {
      ASSERT_EQ(overwritten[target][i], expected_sum(inputs, i)) << target << " " << i;
    }
  }
}

TYPED_TEST(FoldPartials, CopiesASinglePartialAndMayDoSoOntoItself) {
  auto inputs = columns<TypeParam>(1, 10);
  const auto before = inputs[0];
  std::vector<TypeParam> out(10);
  const std::vector<FoldStep> program{{kLoad, 0}};

  fold_partials(pointers(inputs), program, out.data(), 0, 10);
  fold_partials(pointers(inputs), program, inputs[0].data(), 0, 10);

  EXPECT_EQ(out, before);
  EXPECT_EQ(inputs[0], before);
}

TYPED_TEST(FoldPartials, RefusesProgramsThatNoTreeMakes) {
  const auto inputs = columns<TypeParam>(2, 4);
  std::vector<TypeParam> out(4);
  const std::vector<std::vector<FoldStep>> wrong{
      {},           {{kAdd, 0}},   {{kLoad, 0}, {kLoad, 1}}, {{kLoad, 0}, {kAdd, 0}},
      {{kLoad, 2}}, {{kLoad, -1}},
  };
  for (const auto& program : wrong) {
    EXPECT_THROW(fold_partials(pointers(inputs), program, out.data(), 0, 4), base::InternalError);
  }
}

RC_GTEST_PROP(FoldPartialsProperty, EndsInAnInternalErrorOrASumForAnyProgram, ()) {
  const auto inputs = columns<float>(3, 8);
  std::vector<FoldStep> program;
  for (const int operand : *rc::gen::container<std::vector<int>>(rc::gen::inRange(-2, 5))) {
    program.push_back({operand % 2 == 0 ? kLoad : kAdd, operand});
  }
  std::vector<float> out(8);
  try {
    fold_partials(pointers(inputs), program, out.data(), 0, 8);
  } catch (const base::InternalError&) {
    RC_CLASSIFY(true, "refused");
  }
}

RC_GTEST_PROP(FoldPartialsProperty, GivesTheSameBitsHoweverTheElementsAreCut, ()) {
  const auto inputs = columns<float>(6, 4000);
  const auto program = fold_program(single_leaves(6), 6);
  std::vector<float> whole(4000);
  std::vector<float> in_parts(4000);
  const auto cut = *rc::gen::inRange<std::size_t>(0, 4001);

  fold_partials(pointers(inputs), program, whole.data(), 0, 4000);
  fold_partials(pointers(inputs), program, in_parts.data(), 0, cut);
  fold_partials(pointers(inputs), program, in_parts.data(), cut, 4000);

  RC_ASSERT(whole == in_parts);
}

}  // namespace
}  // namespace lockstep::comm
