#include "launcher/device_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lockstep::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(DeviceLines, SayWhereAGpuIsAndWhoTakesIt) {
  const auto devices = nlohmann::json::parse(R"([
    {"uuid": "GPU-b", "name": "NVIDIA H200", "pci": "0000:9c:00.0", "memory_bytes": 149250113536,
     "numa_node": 1, "cpus": "32-63,96-127", "rank": 1},
    {"uuid": "GPU-a", "name": "NVIDIA H200", "pci": "0000:1b:00.0", "memory_bytes": 149250113536,
     "numa_node": 0, "cpus": "0-31,64-95", "rank": 0}])");

  EXPECT_THAT(device_lines(devices),
              ElementsAre("NVIDIA H200 with 139 GiB at 0000:9c:00.0 (GPU-b), NUMA node 1, CPUs "
                          "32-63,96-127, taken by rank 1 of this host",
                          "NVIDIA H200 with 139 GiB at 0000:1b:00.0 (GPU-a), NUMA node 0, CPUs "
                          "0-31,64-95, taken by rank 0 of this host"));
}

TEST(DeviceLines, SayWhatIsNotKnown) {
  const auto devices = nlohmann::json::parse(R"([
    {"uuid": "MIG-a", "name": "NVIDIA H200 MIG 1g.18gb", "pci": "0000:1b:00.0",
     "memory_bytes": 17179869184, "numa_node": null, "cpus": null, "rank": null},
    {"uuid": "GPU-c", "name": "older", "pci": "0000:02:00.0", "memory_bytes": 1073741824}])");

  EXPECT_THAT(
      device_lines(devices),
      ElementsAre(
          "NVIDIA H200 MIG 1g.18gb with 16 GiB at 0000:1b:00.0 (MIG-a), NUMA node not known",
          "older with 1 GiB at 0000:02:00.0 (GPU-c), NUMA node not known"));
  EXPECT_THAT(device_lines(nlohmann::json::array()), IsEmpty());
}

}  // namespace
}  // namespace lockstep::launcher
