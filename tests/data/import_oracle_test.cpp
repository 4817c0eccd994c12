// Files made by NumPy itself, imported, and compared by it.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "data/import/npy.hpp"
#include "data/import/npz.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::data {
namespace {

int oracle(const std::string& words) {
  return std::system((LOCKSTEP_H5PY_PYTHON " " LOCKSTEP_IMPORT_ORACLE " " + words).c_str());
}

TEST(ImportOracle, FindsEveryArrayOfNumpyAsItIs) {
  const tests::TemporaryDirectory directory;
  ASSERT_EQ(oracle("write-npy " + directory.path()), 0);

  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    auto output = entry.path();
    output.replace_extension(".h5");
    if (entry.path().extension() == ".npy") import_npy(entry.path(), "", {.path = output});
    if (entry.path().extension() == ".npz") import_npz(entry.path(), {.path = output});
  }

  EXPECT_EQ(oracle("check-npy " + directory.path()), 0);
}

}  // namespace
}  // namespace lockstep::data
