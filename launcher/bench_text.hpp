#pragma once
// What `lockstep bench comm` reads and prints. Pure functions, any thread.

#include <string>
#include <vector>

#include "comm/comm_bench.hpp"
#include "launcher/terminal.hpp"

namespace lockstep::launcher {

/// `4K,1M` or `4K:64M` (each four times the last) as bytes. Throws ConfigError naming the part.
std::vector<std::size_t> parse_sizes(const std::string& text);

std::string bench_table(const std::vector<comm::CommBenchRow>& rows, const comm::Topology& topology,
                        const Style& style);
std::string bench_json(const std::vector<comm::CommBenchRow>& rows, const comm::Topology& topology);

}  // namespace lockstep::launcher
