#include "launcher/bench_text.hpp"

#include <fmt/core.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"

namespace lockstep::launcher {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;
constexpr std::size_t kRangeFactor = 4;

[[noreturn]] void refuse(const std::string& text) {
  throw base::ConfigError("size " + base::quote(text) +
                          " cannot be used (sizes are 1 to 1G, with K, M or G for binary "
                          "units); write for example --sizes 4K,1M or --sizes 4K:64M");
}

std::size_t parse_size(const std::string& text) {
  std::size_t number = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(stop, static_cast<std::size_t>(end - stop));
  const auto factor = unit.empty()  ? 1
                      : unit == "K" ? std::size_t{1} << 10
                      : unit == "M" ? std::size_t{1} << 20
                      : unit == "G" ? std::size_t{1} << 30
                                    : std::size_t{0};
  if (error != std::errc() || factor == 0 || number == 0 || number > kMostBytes / factor) {
    refuse(text);
  }
  return number * factor;
}

}  // namespace

std::vector<std::size_t> parse_sizes(const std::string& text) {
  std::vector<std::size_t> sizes;
  if (const auto colon = text.find(':'); colon != std::string::npos) {
    const auto last = parse_size(text.substr(colon + 1));
    for (auto size = parse_size(text.substr(0, colon)); size <= last; size *= kRangeFactor) {
      sizes.push_back(size);
    }
  } else {
    for (const auto& part : base::split(text, ',')) sizes.push_back(parse_size(std::string(part)));
  }
  if (sizes.empty()) refuse(text);
  return sizes;
}

std::string bench_table(const std::vector<comm::CommBenchRow>& rows, const comm::Topology& topology,
                        const Style& style) {
  Table table({{"size", Table::Align::kRight},
               {"algorithm"},
               {"time", Table::Align::kRight},
               {"GB/s", Table::Align::kRight},
               {"bus GB/s", Table::Align::kRight},
               {"result"}});
  for (const auto& row : rows) {
    table.add_row({base::format_bytes(row.bytes), row.algorithm,
                   fmt::format("{:.1f} us", row.seconds * 1e6),
                   fmt::format("{:.2f}", static_cast<double>(row.bytes) / row.seconds / 1e9),
                   fmt::format("{:.2f}", row.bus_bandwidth / 1e9),
                   row.right ? "right" : paint(style, Tone::kError, "wrong")});
  }
  return fmt::format("f32 sum over {} {} on {} {}, each rank gets all of it\n\n",
                     topology.world_size, topology.world_size == 1 ? "rank" : "ranks",
                     topology.node_count, topology.node_count == 1 ? "node" : "nodes") +
         table.text(style);
}

std::string bench_json(const std::vector<comm::CommBenchRow>& rows,
                       const comm::Topology& topology) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    list.push_back({{"algorithm", row.algorithm},
                    {"bytes", row.bytes},
                    {"ranks", topology.world_size},
                    {"nodes", topology.node_count},
                    {"microseconds", row.seconds * 1e6},
                    {"algorithm_bandwidth", static_cast<double>(row.bytes) / row.seconds},
                    {"bus_bandwidth", row.bus_bandwidth},
                    {"right", row.right}});
  }
  return list.dump(1) + "\n";
}

}  // namespace lockstep::launcher
