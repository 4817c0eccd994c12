#include "data/import/images.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "data/import/image_file.hpp"
#include "data/source.hpp"
#include "image_files.hpp"
#include "imported.hpp"
#include "odd_files.hpp"
#include "raises.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tests::jpeg_bytes;
using tests::message_of;
using tests::png_bytes;

using Pixels = std::vector<std::uint8_t>;

class ImportImages : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::vector<std::byte>& bytes) {
    const std::filesystem::path path = folder() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    tests::write_file(path, bytes);
  }
  ImportResult import(const ImportImagesOptions& options = {}) {
    return import_images(folder(), {.path = output()}, options);
  }
  std::string refusal(const ImportImagesOptions& options = {}) {
    auto message = message_of<base::DataError>([&] { import(options); });
    EXPECT_FALSE(std::filesystem::exists(output())) << "something was left behind";
    return message;
  }
  std::string folder() const { return directory_.file("pets"); }
  std::string output() const { return directory_.file("out.h5"); }
  Pixels x() const { return tests::column_of<std::uint8_t>(output(), "x"); }
  std::vector<std::int64_t> y() const { return tests::column_of<std::int64_t>(output(), "y"); }
  std::vector<std::int64_t> shape() const { return DatasetFile(output()).column("x").shape; }

  tests::TemporaryDirectory directory_;
};

TEST_F(ImportImages, TakesFoldersAsClassesAndFilesInTheirOrder) {
  write("dog/b.png", png_bytes(1, 2, 1, {3, 4}));
  write("dog/a/z.PNG", png_bytes(1, 2, 1, {1, 2}));
  write("cat/1.png", png_bytes(1, 2, 1, {5, 6}));
  write("cat/.hidden.png", {});
  write("cat/notes.txt", {});

  const auto result = import();

  EXPECT_EQ(result.rows, 3);
  EXPECT_THAT(shape(), ElementsAre(3, 1, 1, 2));
  EXPECT_THAT(x(), ElementsAre(5, 6, 1, 2, 3, 4));
  EXPECT_THAT(y(), ElementsAre(0, 1, 1));
  EXPECT_EQ(tests::attribute_of(output(), "classes"), R"(["cat","dog"])");
  EXPECT_EQ(tests::attribute_of(output(), "source"), R"({"format":"images","files":["pets"]})");
  ASSERT_EQ(result.columns.size(), 2u);
  EXPECT_EQ(result.columns[1].type, "2 images");
  EXPECT_THAT(result.notes, IsEmpty());
}

TEST_F(ImportImages, MakesAFileThatTrainingReads) {
  write("a/1.png", png_bytes(2, 2, 3, Pixels(12, 9)));
  write("b/1.png", png_bytes(2, 2, 3, Pixels(12, 8)));

  import();

  SourceOptions options;
  options.paths = {output()};
  EXPECT_EQ(SampleSource(options).info().classes, 2);
}

TEST_F(ImportImages, StoresColorsAsPlanes) {
  write("a/1.png", png_bytes(1, 2, 3, {1, 2, 3, 4, 5, 6}));
  write("a/2.png", png_bytes(1, 2, 1, {7, 8}));

  import();

  EXPECT_THAT(shape(), ElementsAre(2, 3, 1, 2));
  EXPECT_THAT(x(), ElementsAre(1, 4, 2, 5, 3, 6, 7, 8, 7, 8, 7, 8));
}

TEST_F(ImportImages, TakesGrayAsThreeChannelsWhenTold) {
  write("a/1.png", png_bytes(1, 1, 1, {7}));

  import({.color = ImageColor::kRgb});

  EXPECT_THAT(x(), ElementsAre(7, 7, 7));
}

TEST_F(ImportImages, MakesLumaOfColorsWhenTold) {
  write("a/1.png", png_bytes(1, 3, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255}));

  const auto result = import({.color = ImageColor::kGray});

  EXPECT_THAT(x(), ElementsAre(76, 150, 29));
  EXPECT_THAT(result.notes, ElementsAre("images in color were made gray"));
}

TEST_F(ImportImages, LaysTransparentImagesOnBlack) {
  write("a/1.png", png_bytes(1, 3, 4, {200, 100, 50, 255, 200, 100, 50, 128, 200, 100, 50, 0}));
  write("a/2.png", png_bytes(1, 3, 2, {90, 255, 90, 51, 90, 0}));

  const auto result = import();

  EXPECT_THAT(x(),
              ElementsAre(200, 100, 0, 100, 50, 0, 50, 25, 0, 90, 18, 0, 90, 18, 0, 90, 18, 0));
  EXPECT_THAT(result.notes, ElementsAre(HasSubstr("2 images are transparent")));
}

TEST_F(ImportImages, ReadsJpeg) {
  write("a/1.jpg", jpeg_bytes(8, 8, 1, Pixels(64, 130)));
  write("a/2.JPEG", jpeg_bytes(8, 8, 1, Pixels(64, 20)));

  import();

  const auto values = x();
  EXPECT_THAT(std::span(values).first(64), Each(130));
  EXPECT_THAT(std::span(values).last(64), Each(20));
}

// The numbers are Pillow 10.4's for the same image.
TEST_F(ImportImages, ResizesAsPillowDoes) {
  const detail::Image image{4, 5, 1, {10, 200, 30,  250, 90,  0, 255, 7,   64,  128,
                                      99, 1,   180, 33,  210, 5, 77,  160, 240, 20}};

  EXPECT_THAT(detail::resized(image, 2, 3).pixels, ElementsAre(94, 98, 131, 55, 125, 121));
  EXPECT_THAT(detail::resized(image, 2, 5).pixels,
              ElementsAre(18, 195, 42, 139, 123, 45, 70, 147, 126, 117));
  EXPECT_THAT(detail::resized(image, 4, 2).pixels,
              ElementsAre(103, 147, 109, 80, 74, 121, 80, 144));
  EXPECT_THAT(
      detail::resized(image, 5, 7).pixels,
      ElementsAre(10, 119, 151, 30, 187, 181, 90, 3, 138, 174, 14, 90, 118, 117, 50, 95, 118, 94,
                  62, 100, 169, 71, 44, 67, 174, 118, 120, 153, 5, 46, 101, 160, 217, 146, 20));
  EXPECT_EQ(detail::resized(image, 4, 5).pixels, image.pixels);
}

TEST_F(ImportImages, ResizesColorsEachForItself) {
  const detail::Image image{1, 4, 3, {0, 100, 8, 40, 100, 8, 80, 100, 8, 120, 100, 8}};

  // (0.75 * 0 + 0.75 * 40 + 0.25 * 80) / 1.75, and the same from the other end.
  EXPECT_THAT(detail::resized(image, 1, 2).pixels, ElementsAre(29, 100, 8, 91, 100, 8));
}

TEST_F(ImportImages, ResizesImagesOfSeveralSizes) {
  write("a/1.png", png_bytes(2, 2, 1, Pixels(4, 50)));
  write("a/2.png", png_bytes(9, 3, 1, Pixels(27, 60)));

  import({.size = ImageSize { 3, 4 }});

  EXPECT_THAT(shape(), ElementsAre(2, 1, 3, 4));
  const auto values = x();
  EXPECT_THAT(std::span(values).first(12), Each(50));
  EXPECT_THAT(std::span(values).last(12), Each(60));
}

TEST_F(ImportImages, NamesTheFirstImageOfAnotherSize) {
  write("a/1.png", png_bytes(2, 2, 1, Pixels(4)));
  write("b/1.png", png_bytes(2, 3, 1, Pixels(6)));
  write("b/2.png", png_bytes(5, 5, 1, Pixels(25)));

  EXPECT_THAT(refusal(), AllOf(HasSubstr("image 'b/1.png' is 2 x 3 and 'a/1.png' is 2 x 2"),
                               HasSubstr("--size HxW")));
}

TEST_F(ImportImages, RefusesDamagedImages) {
  auto cut = png_bytes(20, 20, 3, Pixels(1200, 77));
  cut.resize(cut.size() - 20);
  write("a/1.png", png_bytes(20, 20, 3, Pixels(1200, 77)));
  write("a/2.png", cut);
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("a/2.png' is damaged (libpng: "), HasSubstr("--skip-bad-files")));

  write("a/3.jpg", {std::byte{'J'}});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("1 image cannot be used"),
                               HasSubstr("\n  'a/3.jpg' is neither a PNG nor a JPEG file")));
}

TEST_F(ImportImages, LeavesDamagedImagesOutWhenAsked) {
  auto cut = jpeg_bytes(16, 16, 3, Pixels(768, 77));
  cut.resize(cut.size() / 2);
  write("a/1.jpg", cut);
  write("a/2.png", png_bytes(2, 2, 1, {1, 2, 3, 4}));

  const auto result = import({.bad_files = BadInput::kSkip});

  EXPECT_THAT(x(), ElementsAre(1, 2, 3, 4)) << "the damaged one decides neither size nor color";
  EXPECT_EQ(tests::attribute_of(output(), "skipped"), "1");
  EXPECT_THAT(result.notes, ElementsAre(HasSubstr("1 image was left out\n  'a/1.jpg' is damaged")));
}

TEST_F(ImportImages, RefusesFoldersThatAreNoClasses) {
  EXPECT_THAT(refusal(), HasSubstr("cannot be listed"));

  write("1.png", png_bytes(1, 1, 1, {1}));
  EXPECT_THAT(refusal(), HasSubstr("has no folders in it"));

  write("a/1.png", png_bytes(1, 1, 1, {1}));
  EXPECT_THAT(import().notes, ElementsAre(HasSubstr("1 image lies in no class's folder")));
  std::filesystem::remove(output());

  write("b/readme.txt", {});
  EXPECT_THAT(refusal(), HasSubstr("b' has no images"));
}

TEST_F(ImportImages, RefusesAnImpossibleSize) {
  write("a/1.png", png_bytes(1, 1, 1, {1}));

  EXPECT_THAT(message_of<base::ConfigError>([&] {
                import({.size = ImageSize { 0, 4 }});
              }),
              HasSubstr("size 0 x 4 is impossible"));
}

}  // namespace
}  // namespace lockstep::data
