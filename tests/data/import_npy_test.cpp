#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "data/import/npy.hpp"
#include "data/import/npz.hpp"
#include "imported.hpp"
#include "npy_files.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::bytes_of;
using tests::message_of;
using tests::npy_bytes;
using tests::Packing;

constexpr char kIntegers[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
const std::vector<std::int32_t> kSix{0, 1, 2, 3, 4, 5};

class ImportNpy : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::vector<std::byte>& bytes) {
    tests::write_file(path(name), bytes);
  }
  ImportResult import(const std::string& targets = "") {
    return import_npy(path("x.npy"), targets.empty() ? "" : path(targets), {.path = output()});
  }
  /// What is said of an array x with this header and these elements.
  std::string refusal(const std::string& header,
                      const std::vector<std::byte>& elements = bytes_of(kSix)) {
    write("x.npy", npy_bytes(header, elements));
    auto message = message_of<base::DataError>([&] { import(); });
    EXPECT_FALSE(std::filesystem::exists(output())) << "something was left behind";
    return message;
  }
  std::string path(const std::string& name) const { return directory_.file(name); }
  std::string output() const { return path("out.h5"); }
  std::vector<std::int64_t> shape(const std::string& name) const {
    return DatasetFile(output()).column(name).shape;
  }

  tests::TemporaryDirectory directory_;
};

TEST_F(ImportNpy, WritesInputsAndTargetsAsTheyAre) {
  write("x.npy", npy_bytes(kIntegers, bytes_of(kSix)));
  write("y.npy", npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }",
                           bytes_of(std::vector<double>{0.5, -1})));

  const auto result = import("y.npy");

  EXPECT_EQ(result.rows, 2);
  EXPECT_THAT(result.datasets, ElementsAre("x i32 [2, 3]", "y f64 [2, 1]"));
  EXPECT_EQ(result.columns[0].type, "i32 [2, 3]");
  EXPECT_EQ(result.columns[1].use, "y, values");
  EXPECT_EQ(tests::column_of<std::int32_t>(output(), "x"), kSix);
  EXPECT_THAT(tests::column_of<double>(output(), "y"), ElementsAre(0.5, -1));
  EXPECT_EQ(tests::attribute_of(output(), "source"),
            R"({"format":"npy","files":["x.npy","y.npy"]})");
}

TEST_F(ImportNpy, TakesInputsAlone) {
  write("x.npy", npy_bytes(kIntegers, bytes_of(kSix)));

  import();

  EXPECT_EQ(DatasetFile(output()).columns().size(), 1u);
}

TEST_F(ImportNpy, MakesARowOfAColumnOfLabels) {
  write("x.npy", npy_bytes(kIntegers, bytes_of(kSix)));
  write("y.npy", npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1), }",
                           bytes_of(std::vector<std::uint8_t>{1, 0})));

  import("y.npy");

  EXPECT_THAT(shape("y"), ElementsAre(2));
}

TEST_F(ImportNpy, TurnsFortranOrderRound) {
  // Element [row][a][b] is 100 row + 10 a + b; the first index runs fastest.
  std::vector<std::uint16_t> stored;
  for (int b = 0; b < 4; ++b) {
    for (int a = 0; a < 3; ++a) {
      for (int row = 0; row < 2; ++row) {
        stored.push_back(static_cast<std::uint16_t>(100 * row + 10 * a + b));
      }
    }
  }
  write("x.npy", npy_bytes("{'descr': '<u2', 'fortran_order': True, 'shape': (2, 3, 4), }",
                           bytes_of(stored)));

  EXPECT_EQ(import().columns[0].type, "u16 [2, 3, 4], Fortran order");

  EXPECT_THAT(tests::column_of<std::uint16_t>(output(), "x"),
              ElementsAre(0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23, 100, 101, 102, 103, 110, 111,
                          112, 113, 120, 121, 122, 123));
}

TEST_F(ImportNpy, SwapsBigEndianBytes) {
  write("x.npy", npy_bytes("{'descr': '>i2', 'fortran_order': False, 'shape': (2, 1)}",
                           bytes_of(std::vector<std::uint8_t>{1, 2, 0xff, 0xfe})));

  import();

  EXPECT_THAT(tests::column_of<std::int16_t>(output(), "x"), ElementsAre(0x0102, -2));
}

TEST_F(ImportNpy, ReadsAllVersionsOfTheFormatAndOddSpellings) {
  for (const int version : {1, 2, 3}) {
    write("x.npy", npy_bytes(kIntegers, bytes_of(kSix), version));
    import();
    EXPECT_EQ(tests::column_of<std::int32_t>(output(), "x"), kSix);
  }
  write("x.npy", npy_bytes("{ \"shape\" :( 6L , ) ,'fortran_order':True, \"descr\" : '<i4' }",
                           bytes_of(kSix)));
  import();
  EXPECT_THAT(shape("x"), ElementsAre(6));
}

TEST_F(ImportNpy, NeverUnpicklesObjects) {
  EXPECT_THAT(refusal("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"),
              AllOf(HasSubstr("array '" + path("x.npy") + "' holds Python objects"),
                    HasSubstr("it is never done")));
}

TEST_F(ImportNpy, RefusesWhatIsNoNumber) {
  const auto of_type = [&](const std::string& descr) {
    return refusal("{'descr': " + descr + ", 'fortran_order': False, 'shape': (2,), }");
  };
  EXPECT_THAT(of_type("[('a', '<i4'), ('b', '<f4')]"), HasSubstr("holds structures"));
  EXPECT_THAT(of_type("'<U3'"), HasSubstr("holds texts (type '<U3')"));
  EXPECT_THAT(of_type("'<M8[ns]'"), HasSubstr("holds dates or times"));
  EXPECT_THAT(of_type("'<c8'"), HasSubstr("holds complex numbers"));
  EXPECT_THAT(of_type("'<f16'"), HasSubstr("holds floats of that size"));
  EXPECT_THAT(of_type("'|V2'"), HasSubstr("holds structures or raw bytes"));
  EXPECT_THAT(of_type("''"), HasSubstr("unknown element type ''"));
  EXPECT_THAT(of_type("'i4'"), HasSubstr("unknown element type 'i4'"));
}

TEST_F(ImportNpy, RefusesHeadersThatNumpyWouldNotWrite) {
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False}"), HasSubstr("lacks one of"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'descr': '<i4'}"), HasSubstr("there twice"));
  EXPECT_THAT(refusal("{'order': 'C'}"), HasSubstr("has the key 'order'"));
  EXPECT_THAT(refusal("{'descr': '<i4"), HasSubstr("text in its header that does not end"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': 0, 'shape': (2, 3)}"),
              HasSubstr("neither True nor False"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, 'shape': (2, -3)}"),
              HasSubstr("a shape that cannot be read"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)} x"),
              HasSubstr("something after the dictionary"));
  EXPECT_THAT(refusal("eval(1)"), HasSubstr("cannot be read at its byte 0"));
}

TEST_F(ImportNpy, RefusesShapesThatDoNotFitTheBytes) {
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 4)}"),
              HasSubstr("claims 32 bytes of elements and has 24 (it was cut short)"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, 'shape': (5,)}"),
              HasSubstr("claims 20 bytes of elements and has 24"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, "
                      "'shape': (4294967296, 4294967296, 2)}"),
              HasSubstr("claims the shape [4294967296, 4294967296, 2], but ends after 24"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, 'shape': ()}", {}),
              HasSubstr("has 0 dimensions"));
  EXPECT_THAT(refusal("{'descr': '<i4', 'fortran_order': False, 'shape': (0, 3)}", {}),
              HasSubstr("has no elements"));
}

TEST_F(ImportNpy, RefusesFilesThatAreCutShortOrOfAnotherFormat) {
  const auto whole = npy_bytes(kIntegers, {});
  for (const std::size_t length : {0, 9, 20}) {
    write("x.npy", {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    EXPECT_THAT(message_of<base::DataError>([&] { import(); }),
                HasSubstr("ends within its header"));
  }
  auto other = whole;
  other[1] = std::byte{'X'};
  write("x.npy", other);
  EXPECT_THAT(message_of<base::DataError>([&] { import(); }), HasSubstr("not in NumPy's format"));
  other = whole;
  other[6] = std::byte{4};
  write("x.npy", other);
  EXPECT_THAT(message_of<base::DataError>([&] { import(); }),
              HasSubstr("unknown format version 4.0"));
}

TEST_F(ImportNpy, RefusesArraysThatDoNotBelongTogether) {
  write("x.npy", npy_bytes(kIntegers, bytes_of(kSix)));
  write("y.npy",
        npy_bytes("{'descr': '<i4', 'fortran_order': False, 'shape': (6,)}", bytes_of(kSix)));

  EXPECT_THAT(message_of<base::DataError>([&] { import("y.npy"); }),
              HasSubstr("have 2 and 6 rows"));
}

class ImportNpz : public ImportNpy {
 protected:
  void zip(const std::vector<std::pair<std::string, std::vector<std::byte>>>& members,
           Packing packing = Packing::kDeflated) {
    tests::write_npz(archive_path(), members, packing);
  }
  std::string archive_path() const { return path("in.npz"); }
  ImportResult import_archive(const ImportNpzOptions& options = {}) {
    return import_npz(archive_path(), {.path = output()}, options);
  }

  const std::vector<std::byte> x_ = npy_bytes(kIntegers, bytes_of(kSix));
  const std::vector<std::byte> y_ =
      npy_bytes("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}",
                bytes_of(std::vector<std::int64_t>{7, 8}));
};

TEST_F(ImportNpz, TakesTheUsualNames) {
  for (const auto packing : {Packing::kStored, Packing::kDeflated}) {
    zip({{"x_test.npy", y_}, {"y_train.npy", y_}, {"x_train.npy", x_}}, packing);

    const auto result = import_archive();

    EXPECT_EQ(tests::column_of<std::int32_t>(output(), "x"), kSix);
    EXPECT_THAT(tests::column_of<std::int64_t>(output(), "y"), ElementsAre(7, 8));
    ASSERT_EQ(result.columns.size(), 3u);
    EXPECT_EQ(result.columns[2].name, "x_test");
    EXPECT_EQ(result.columns[2].use, "left out");
  }
}

TEST_F(ImportNpz, TakesTheArraysThatAreNamed) {
  zip({{"a.npy", x_}, {"b.npy", y_}});

  import_archive({.inputs = "a", .targets = "b"});
  EXPECT_THAT(tests::column_of<std::int64_t>(output(), "y"), ElementsAre(7, 8));

  import_archive({.inputs = "b"});
  EXPECT_EQ(DatasetFile(output()).columns().size(), 1u);
}

TEST_F(ImportNpz, ListsTheArraysWhenNoneIsNamed) {
  zip({{"a.npy", x_}, {"b.npy", y_}, {"readme.txt", y_}});

  EXPECT_THAT(message_of<base::DataError>([&] { import_archive(); }),
              AllOf(HasSubstr("(it has a, b)"), HasSubstr("--inputs and --targets")));
  EXPECT_THAT(message_of<base::ConfigError>([&] { import_archive({.inputs = "c"}); }),
              HasSubstr("array 'c' is not in"));
  EXPECT_THAT(message_of<base::ConfigError>([&] { import_archive({.targets = "b"}); }),
              HasSubstr("give --inputs too"));
}

TEST_F(ImportNpz, TurnsFortranOrderRoundInPackedArrays) {
  for (const auto packing : {Packing::kStored, Packing::kDeflated}) {
    zip({{"x.npy",
          npy_bytes("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}", bytes_of(kSix))},
         {"y.npy", y_}},
        packing);

    import_archive();

    EXPECT_THAT(tests::column_of<std::int32_t>(output(), "x"), ElementsAre(0, 2, 4, 1, 3, 5));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 2);
  }
}

TEST_F(ImportNpz, NoticesDamage) {
  zip({{"x.npy", x_}, {"y.npy", y_}}, Packing::kStored);
  auto bytes = tests::read_file(archive_path());
  const auto six = bytes_of(kSix);
  const auto place = std::search(bytes.begin(), bytes.end(), six.begin(), six.end());
  ASSERT_NE(place, bytes.end());
  *(place + 8) ^= std::byte{1};
  tests::write_file(archive_path(), bytes);

  EXPECT_THAT(message_of<base::DataError>([&] { import_archive(); }),
              AllOf(HasSubstr("array 'x' of"), HasSubstr("CRC")));

  bytes.resize(bytes.size() / 2);
  tests::write_file(archive_path(), bytes);
  EXPECT_THAT(message_of<base::DataError>([&] { import_archive(); }), HasSubstr("cannot be read"));
  EXPECT_FALSE(std::filesystem::exists(output()));
}

}  // namespace
}  // namespace lockstep::data
