#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/hash.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "tests/checkpoints/saved_state.hpp"
#include "tests/support/temporary_directory.hpp"

namespace lockstep::checkpoints {
namespace {

int oracle(const std::string& arguments) {
  return std::system(
      ("'" LOCKSTEP_SAFETENSORS_PYTHON "' '" LOCKSTEP_SAFETENSORS_ORACLE "' " + arguments).c_str());
}

/// Lines as the oracle writes them, of a whole file.
std::vector<std::string> lines_of(const std::string& path) {
  auto& files = base::FileSystem::posix();
  const auto data_begin = read_safetensors_prefix(files, path).size();
  std::vector<std::string> lines;
  for (const auto& tensor : parse_safetensors(files, path).tensors) {
    std::vector<std::byte> bytes(tensor.end - tensor.begin);
    files.read_at(path, data_begin + tensor.begin, bytes);
    std::string shape;
    for (const auto side : tensor.shape) shape += (shape.empty() ? "" : "x") + std::to_string(side);
    lines.push_back(tensor.dtype + " " + (shape.empty() ? "-" : shape) + " " +
                    base::sha256_hex(std::span(bytes)) + " " + tensor.name);
  }
  std::ranges::sort(lines);
  return lines;
}

TEST(SafetensorsOracle, OpensTheFilesOfACheckpointAndReadsEqualValues) {
  const tests::TemporaryDirectory directory;
  auto& files = base::FileSystem::posix();
  CheckpointStore store(files, directory.file("checkpoints"));
  const auto path = tests::save(store, tests::SavedState(412), 3);
  EXPECT_EQ(tests::expect_whole(store, path), 412);

  for (const auto& name : {"model.safetensors", "optimizer.safetensors"}) {
    std::string text;
    for (const auto& line : lines_of(path + "/" + name)) text += line + "\n";
    files.write_atomically(directory.file("expected"), text);

    EXPECT_EQ(oracle("check " + path + "/" + name + " " + directory.file("expected")), 0) << name;
  }
}

TEST(SafetensorsOracle, WritesFilesThatAreReadAsItMeantThem) {
  const tests::TemporaryDirectory directory;
  const auto path = directory.file("m.safetensors");
  ASSERT_EQ(oracle("write " + path + " " + directory.file("expected")), 0);
  std::vector<std::string> wanted;
  const auto text = base::FileSystem::posix().read_text(directory.file("expected"));
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    wanted.push_back(text.substr(at, text.find('\n', at) - at));
  }
  std::ranges::sort(wanted);

  EXPECT_EQ(lines_of(path), wanted);
  EXPECT_EQ(wanted.size(), 9u);
  EXPECT_EQ(parse_safetensors(base::FileSystem::posix(), path).metadata.at("who"), "Zo\xc3\xab");
}

}  // namespace
}  // namespace lockstep::checkpoints
