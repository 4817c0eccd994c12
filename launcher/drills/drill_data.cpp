#include "launcher/drills/drill_data.hpp"

#include <array>
#include <limits>
#include <span>
#include <vector>

#include "base/file_system.hpp"
#include "data/dataset_writer.hpp"
#include "data/synth.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::int64_t kRows = 1920;  // whole batches: no sample is left out of an epoch
constexpr std::int64_t kFeatures = 16;
constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kBadRow = 1234;

}  // namespace

void write_drill_data(const std::string& folder) {
  data::synthesize({.kind = data::TaskKind::kClassification,
                    .rows = kRows,
                    .features = kFeatures,
                    .classes = kClasses,
                    .output = base::join_path(folder, "train.h5")});

  std::vector<float> inputs(kRows * kFeatures);
  std::vector<std::int64_t> targets(kRows);
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(i * 7 % 13) / 13;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i] = static_cast<std::int64_t>(i) % kClasses;
  }
  inputs[kBadRow * kFeatures] = std::numeric_limits<float>::quiet_NaN();
  data::DatasetWriter writer(base::join_path(folder, "nan.h5"));
  writer.add_column("x", data::DType::kF32, std::array{kRows, kFeatures});
  writer.add_column("y", data::DType::kI64, std::array{kRows});
  writer.write_rows("x", 0, kRows, std::as_bytes(std::span(inputs)));
  writer.write_rows("y", 0, kRows, std::as_bytes(std::span(targets)));
  writer.commit();
}

}  // namespace lockstep::launcher
