#include "base/output_path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/file_system.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::base {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string refusal_of(const std::string& path) {
  try {
    require_output_path(path);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "none";
}

TEST(OutputPath, MayBeAnyNameInAFolder) {
  const tests::TemporaryDirectory directory;
  FileSystem::posix().write_atomically(directory.file("old.h5"), "text");

  EXPECT_NO_THROW(require_output_path(directory.file("new.h5")));
  EXPECT_NO_THROW(require_output_path(directory.file("old.h5")));
  EXPECT_NO_THROW(require_output_path("new.h5"));
}

TEST(OutputPath, MayNotBeInAFolderThatDoesNotExist) {
  const tests::TemporaryDirectory directory;
  const auto folder = directory.file("missing");

  EXPECT_EQ(refusal_of(folder + "/f.h5"), "output '" + folder +
                                              "/f.h5' cannot be made (there is no folder '" +
                                              folder + "'); make the folder, or name another one");
}

TEST(OutputPath, MayNotBeBelowAFile) {
  const tests::TemporaryDirectory directory;
  FileSystem::posix().write_atomically(directory.file("f"), "text");

  EXPECT_THAT(refusal_of(directory.file("f/g.h5")), HasSubstr("/f' is no folder)"));
}

TEST(OutputPath, MayNotBeADirectory) {
  const tests::TemporaryDirectory directory;

  EXPECT_THAT(refusal_of(directory.path()), EndsWith("give a file name in it"));
}

TEST(OutputPath, MayNotBeEmpty) { EXPECT_THAT(refusal_of(""), HasSubstr("give a file name")); }

}  // namespace
}  // namespace lockstep::base
