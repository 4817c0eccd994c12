#include "checkpoints/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "base/error.hpp"
#include "tests/checkpoints/raises.hpp"
#include "tests/support/fault_file_system.hpp"

namespace lockstep::checkpoints {
namespace {

using base::CheckpointError;
using testing::HasSubstr;

/// Length prefix, `json` as it stands, and nothing else.
std::string prefix_of(const std::string& json) {
  std::string prefix(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) prefix[i] = static_cast<char>(json.size() >> (8 * i) & 0xFF);
  return prefix + json;
}

SafetensorsHeader parse(const std::string& json, std::uint64_t data_bytes) {
  const auto prefix = prefix_of(json);
  return parse_safetensors_header(prefix, prefix.size() + data_bytes, "m.safetensors");
}

std::string complaint(const std::string& json, std::uint64_t data_bytes) {
  return tests::text_of<CheckpointError>([&] { parse(json, data_bytes); });
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(Safetensors, WritesTheLengthTheJsonAndSpacesUpToAMultipleOf64) {
  SafetensorsHeader header;
  header.metadata = {{"format", "pt"}};
  header.tensors = {{.name = "w", .dtype = "F32", .shape = {2, 3}, .begin = 0, .end = 24}};
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
  ASSERT_EQ(json.size(), 88u);

  const auto bytes = serialize(header);

  EXPECT_EQ(bytes, std::string("\x78\0\0\0\0\0\0\0", 8) + json + std::string(32, ' '));
}

TEST(Safetensors, BeginsTheDataOfLargeFilesOnAPage) {
  for (const std::uint64_t bytes : {std::uint64_t{4}, std::uint64_t{1} << 20}) {
    SafetensorsHeader header;
    header.tensors = {{.name = "w",
                       .dtype = "F32",
                       .shape = {static_cast<std::int64_t>(bytes / 4)},
                       .begin = 0,
                       .end = bytes}};

    const auto prefix = file_prefix(header);

    EXPECT_EQ(prefix.size(), bytes == 4 ? serialize(header).size() : 4096);
    EXPECT_EQ(parse_safetensors_header(prefix, prefix.size() + bytes, "x"), header);
  }
}

TEST(Safetensors, WritesAnEmptyHeaderThatReadsBack) {
  const auto bytes = serialize({});

  EXPECT_EQ(bytes.size(), 64u);
  EXPECT_EQ(parse_safetensors_header(bytes, 64, "x"), SafetensorsHeader{});
}

TEST(Safetensors, KeepsNamesThatJsonHasToEscape) {
  SafetensorsHeader header;
  header.tensors = {
      {.name = "a \"b\" \\ \n \xc3\xa4", .dtype = "U8", .shape = {1}, .begin = 0, .end = 1}};
  const auto bytes = serialize(header);

  EXPECT_EQ(parse_safetensors_header(bytes, bytes.size() + 1, "x"), header);
}

TEST(Safetensors, ReadsTensorsThatLieInAnotherOrderThanTheyAreNamed) {
  const auto header = parse(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[3,5]},)"
                            R"("b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                            5);

  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.data_bytes(), 5u);
}

TEST(Safetensors, ReadsAScalarAndATensorWithoutElements) {
  const auto header = parse(R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
                            R"("e":{"dtype":"F64","shape":[0,4],"data_offsets":[8,8]}})",
                            8);

  EXPECT_TRUE(header.tensors[0].shape.empty());
  EXPECT_EQ(header.tensors[1].end, 8u);
}

TEST(Safetensors, SaysWhatIsWrongWithAFile) {
  EXPECT_EQ(complaint(tensor("F32", "[2]", "[0,9]"), 9),
            "file 'm.safetensors' is not a good safetensors file (tensor 'w' does not fill its "
            "offsets); use an older checkpoint");
  EXPECT_THAT(complaint(tensor("F32", "[2]", "[0,8]"), 7),
              HasSubstr("bytes, its header describes"));
  EXPECT_THAT(complaint(tensor("F32", "[2]", "[0,8]"), 9),
              HasSubstr("bytes, its header describes"));
  EXPECT_THAT(complaint(tensor("F31", "[2]", "[0,8]"), 8), HasSubstr("unknown dtype 'F31'"));
  EXPECT_THAT(complaint(tensor("F32", "[-2]", "[0,8]"), 8),
              HasSubstr("a side of tensor 'w' is not a whole number"));
  EXPECT_THAT(complaint(tensor("F32", "[2.0]", "[0,8]"), 8), HasSubstr("not a whole number"));
  EXPECT_THAT(complaint(tensor("F32", "[2]", "[true,8]"), 8), HasSubstr("not a whole number"));
  EXPECT_THAT(complaint(tensor("F32", "[2]", "[8]"), 8), HasSubstr("has no two offsets"));
  EXPECT_THAT(complaint(tensor("F32", "[2]", "[8,0]"), 8), HasSubstr("does not fill its offsets"));
  EXPECT_THAT(complaint(tensor("F32", "[2]", "[4,12]"), 12), HasSubstr("leaves a hole"));
  EXPECT_THAT(complaint(tensor("F32", "[4611686018427387904,4]", "[0,0]"), 0),
              HasSubstr("an impossible shape"));
  EXPECT_THAT(complaint(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                        2),
              HasSubstr("tensor 'w' is there twice"));
  EXPECT_THAT(complaint(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                        R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                        3),
              HasSubstr("tensor 'b' overlaps another"));
  EXPECT_THAT(complaint("[]", 0), HasSubstr("does not begin with a brace"));
  EXPECT_THAT(complaint("{", 0), HasSubstr("does not parse"));
  EXPECT_THAT(complaint(R"({"w":3})", 0), HasSubstr("does not parse"));
  EXPECT_THAT(complaint(R"({"__metadata__":{"step":3}})", 0), HasSubstr("does not parse"));
  EXPECT_THAT(complaint(R"({"w":[[[[[[]]]]]]})", 0), HasSubstr("nested too deeply"));
}

TEST(Safetensors, RefusesAHeaderThatIsLongerThanItsFileOrThanTheFormatAllows) {
  tests::FaultFileSystem files;
  const auto text = [&](const std::string& bytes) {
    files.put("/m", bytes);
    return tests::text_of<CheckpointError>([&] { parse_safetensors(files, "/m"); });
  };

  EXPECT_THAT(text(""), HasSubstr("shorter than eight bytes"));
  EXPECT_THAT(text("1234567"), HasSubstr("shorter than eight bytes"));
  EXPECT_THAT(text(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("its header is said to have 3 bytes, the file has 10"));
  EXPECT_THAT(text(std::string(8, '\xff') + "{}"), HasSubstr("18446744073709551615 bytes"));
  EXPECT_THAT(tests::text_of<CheckpointError>([&] { parse_safetensors(files, "/none"); }),
              HasSubstr("file '/none' is missing"));
}

RC_GTEST_PROP(SafetensorsProperty, WhatIsWrittenReadsBackTheSame, ()) {
  static const std::vector<std::pair<std::string, std::uint64_t>> kTypes{
      {"F64", 8}, {"F32", 4}, {"BF16", 2}, {"U8", 1}, {"BOOL", 1}};
  SafetensorsHeader header;
  const auto names =
      *rc::gen::unique<std::vector<std::uint16_t>>(rc::gen::arbitrary<std::uint16_t>());
  std::uint64_t end = 0;
  for (const auto number : names) {
    const auto& [dtype, bytes] = *rc::gen::elementOf(kTypes);
    const auto shape = *rc::gen::resize(
        3, rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 5)));
    std::uint64_t size = bytes;
    for (const auto side : shape) size *= static_cast<std::uint64_t>(side);
    header.tensors.push_back({.name = "t" + std::to_string(number),
                              .dtype = dtype,
                              .shape = shape,
                              .begin = end,
                              .end = end + size});
    end += size;
  }
  for (const auto key : *rc::gen::arbitrary<std::set<std::uint16_t>>()) {
    header.metadata["k" + std::to_string(key)] = "v";
  }

  const auto bytes = serialize(header);

  RC_ASSERT(bytes.size() % 64 == 0);
  RC_ASSERT(parse_safetensors_header(bytes, bytes.size() + end, "x") == header);
}

}  // namespace
}  // namespace lockstep::checkpoints
