#include "data/filters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <libdeflate.h>
#include <rapidcheck/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "data/dataset_file.hpp"
#include "data/hdf5_library.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data::detail {
namespace {

using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t count, std::uint64_t seed, int most) {
  std::mt19937_64 random(seed);
  Bytes bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random() % static_cast<unsigned>(most));
  return bytes;
}

/// As HDF5's shuffle filter is described: plane after plane, then the rest.
Bytes shuffled(const Bytes& bytes, std::size_t element) {
  const auto elements = bytes.size() / element;
  Bytes planes = bytes;
  for (std::size_t i = 0; i < elements; ++i) {
    for (std::size_t plane = 0; plane < element; ++plane) {
      planes[plane * elements + i] = bytes[i * element + plane];
    }
  }
  return planes;
}

/// H5_checksum_fletcher32, word by word.
std::uint32_t reference_fletcher(const Bytes& bytes) {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  const auto fold = [](std::uint32_t sum) { return (sum & 0xffff) + (sum >> 16); };
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    first += std::to_integer<std::uint32_t>(bytes[i]) << 8;
    if (i + 1 < bytes.size()) first += std::to_integer<std::uint32_t>(bytes[i + 1]);
    second += first;
    first = fold(first);
    second = fold(second);
  }
  return fold(second) << 16 | fold(first);
}

Bytes deflated(const Bytes& bytes) {
  auto* compressor = libdeflate_alloc_compressor(6);
  Bytes out(libdeflate_zlib_compress_bound(compressor, bytes.size()));
  out.resize(
      libdeflate_zlib_compress(compressor, bytes.data(), bytes.size(), out.data(), out.size()));
  libdeflate_free_compressor(compressor);
  return out;
}

RC_GTEST_PROP(Filters, UnshuffleUndoesTheShuffle, ()) {
  const auto element = *rc::gen::inRange<std::size_t>(1, 18);
  const auto bytes = random_bytes(*rc::gen::inRange<std::size_t>(0, 700), 3, 256);

  Bytes out(bytes.size());
  unshuffle(element > 1 ? shuffled(bytes, element) : bytes, element, out);

  RC_ASSERT(out == bytes);
}

RC_GTEST_PROP(Filters, Fletcher32IsThatOfHdf5, ()) {
  const auto bytes = random_bytes(
      *rc::gen::element<std::size_t>(0, 1, 2, 63, 64, 65, 129, 23'040, 23'041, 100'003),
      *rc::gen::arbitrary<std::uint64_t>(), *rc::gen::element(1, 2, 256));

  RC_ASSERT(fletcher32(bytes) == reference_fletcher(bytes));
}

TEST(Filters, Fletcher32OfTheLargestWordsDoesNotOverflow) {
  const Bytes bytes(1 << 20, std::byte{0xff});

  EXPECT_EQ(fletcher32(bytes), reference_fletcher(bytes));
}

TEST(Filters, UndoesThemInReverseAndLeavesOutTheMaskedOnes) {
  const auto bytes = random_bytes(400, 1, 5);
  FilterPipeline pipeline({{H5Z_FILTER_SHUFFLE, {4}}, {H5Z_FILTER_DEFLATE, {6}}});
  Bytes out(bytes.size());

  EXPECT_FALSE(pipeline.decode(deflated(shuffled(bytes, 4)), 0, out));
  EXPECT_EQ(out, bytes);
  EXPECT_FALSE(pipeline.decode(deflated(bytes), 0b01, out));
  EXPECT_EQ(out, bytes);
  EXPECT_FALSE(pipeline.decode(shuffled(bytes, 4), 0b10, out));
  EXPECT_EQ(out, bytes);
  EXPECT_FALSE(pipeline.decode(bytes, 0b11, out));
  EXPECT_EQ(out, bytes);
}

TEST(Filters, SaysWhatIsWrongWithAChunk) {
  const auto bytes = random_bytes(400, 1, 5);
  Bytes out(bytes.size());
  FilterPipeline deflate(std::vector<StoredFilter>{{H5Z_FILTER_DEFLATE, {6}}});
  FilterPipeline checked(std::vector<StoredFilter>{{H5Z_FILTER_FLETCHER32, {}}});

  EXPECT_EQ(deflate.decode(random_bytes(50, 2, 256), 0, out), "bytes that deflate cannot unpack");
  EXPECT_EQ(deflate.decode(deflated(Bytes(399)), 0, out), "a chunk of 399 bytes instead of 400");
  EXPECT_EQ(checked.decode(random_bytes(404, 2, 256), 0, out), "a wrong Fletcher-32 checksum");
  EXPECT_EQ(checked.decode(random_bytes(3, 2, 256), 0, out), "no room for a checksum");
}

TEST(Filters, TakesNoChunkOfRandomBytesForAGoodOne) {
  std::mt19937_64 random(9);
  for (const int id : {H5Z_FILTER_DEFLATE, kFilterLzf, kFilterBlosc, kFilterLz4, kFilterZstd}) {
    FilterPipeline pipeline({{H5Z_FILTER_FLETCHER32, {}}, {id, {}}});
    Bytes out(256);
    for (int round = 0; round < 2000; ++round) {
      auto bytes = random_bytes(random() % 300, random(), 256);
      // Sizes that are possible reach further into the unpackers.
      if (round % 2 == 0 && bytes.size() > 12) std::fill_n(bytes.begin(), 6, std::byte{0});
      EXPECT_TRUE(pipeline.decode(bytes, 0, out)) << "filter " << id << ", round " << round;
    }
  }
}

/// No plugin of Debian writes Zstandard, so the chunks are put into the file as they are.
TEST(Filters, ReadsChunksOfZstandard) {
  const tests::TemporaryDirectory directory;
  const auto path = directory.file("f.h5");
  const auto bytes = random_bytes(64, 5, 4);
  {
    const Hdf5Lock lock;
    const Hdf5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                          H5Fclose);
    const Hdf5Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t chunk[2] = {4, 8};
    const hsize_t extent[2] = {8, 8};
    H5Pset_chunk(plist.id(), 2, chunk);
    H5Pset_filter(plist.id(), kFilterZstd, H5Z_FLAG_OPTIONAL, 0, nullptr);
    const Hdf5Handle space(H5Screate_simple(2, extent, nullptr), H5Sclose);
    const Hdf5Handle dataset(
        H5Dcreate2(file.id(), "x", H5T_STD_U8LE, space.id(), H5P_DEFAULT, plist.id(), H5P_DEFAULT),
        H5Dclose);
    for (hsize_t row = 0; row < 8; row += 4) {
      Bytes packed(ZSTD_compressBound(32));
      packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data() + 8 * row, 32, 3));
      const hsize_t corner[2] = {row, 0};
      ASSERT_GE(H5Dwrite_chunk(dataset.id(), H5P_DEFAULT, 0, corner, packed.size(), packed.data()),
                0);
    }
  }
  DatasetFile file(path);
  Bytes out(64);

  file.read_rows("x", 0, 8, out);

  EXPECT_EQ(out, bytes);
  EXPECT_EQ(file.access_of("x"), RowAccess::kDecoded);
  EXPECT_THAT(file.column("x").filters, ::testing::ElementsAre("zstd"));
}

}  // namespace
}  // namespace lockstep::data::detail
