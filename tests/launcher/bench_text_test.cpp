#include "launcher/bench_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace lockstep::launcher {
namespace {

using ::testing::ElementsAre;

TEST(BenchSizes, AreListsOrRangesWithBinaryUnits) {
  EXPECT_THAT(parse_sizes("1000"), ElementsAre(1000));
  EXPECT_THAT(parse_sizes("4K,1M"), ElementsAre(4096, 1 << 20));
  EXPECT_THAT(parse_sizes("4K:64K"), ElementsAre(4096, 16384, 65536));
  EXPECT_THAT(parse_sizes("1K:5K"), ElementsAre(1024, 4096));
}

TEST(BenchSizes, RefusesWhatIsNoSize) {
  for (const auto* text :
       {"", "4Q", "K", "-1", "0", "4K,", "4K:", "2G", "99999999999999999999", "4K M", "8K:4K"}) {
    EXPECT_THROW(parse_sizes(text), base::ConfigError) << text;
  }
}

TEST(BenchTable, ShowsBandwidthAndWrongResults) {
  comm::Topology topology;
  topology.world_size = 2;
  const std::vector<comm::CommBenchRow> rows{{.algorithm = "node memory",
                                              .bytes = 4096,
                                              .seconds = 1e-6,
                                              .bus_bandwidth = 4.096e9,
                                              .right = true},
                                             {.algorithm = "MPI_Allreduce",
                                              .bytes = 4096,
                                              .seconds = 2e-6,
                                              .bus_bandwidth = 2.048e9,
                                              .right = false}};

  const auto table = bench_table(rows, topology, {});

  EXPECT_EQ(table,
            "f32 sum over 2 ranks on 1 node, each rank gets all of it\n"
            "\n"
            " size  algorithm        time  GB/s  bus GB/s  result\n"
            "4 KiB  node memory    1.0 us  4.10      4.10  right\n"
            "4 KiB  MPI_Allreduce  2.0 us  2.05      2.05  wrong\n");
}

}  // namespace
}  // namespace lockstep::launcher
