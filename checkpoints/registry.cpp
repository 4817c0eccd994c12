#include "checkpoints/registry.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoints/checkpoint_store.hpp"
#include "checkpoints/ledger.hpp"

namespace lockstep::checkpoints {
namespace {

void verify_ledger(base::FileSystem& files, const RunDirectory& run, Verification& result,
                   std::vector<LedgerEntry>& entries) {
  auto check = read_ledger(files, run.ledger_path());
  entries = std::move(check.entries);
  const auto skipped = std::ranges::count_if(
      entries, [](const LedgerEntry& entry) { return !entry.skipped.empty(); });
  const auto dropped =
      skipped == 0 ? std::string() : ", updates of " + std::to_string(skipped) + " dropped";
  if (check.problem.empty()) {
    result.lines.push_back("ledger: " + base::format_count(entries.size()) +
                           " steps, chain whole, none repeated or missing" + dropped);
  } else {
    result.good = false;
    result.lines.push_back("ledger: BROKEN after step " + std::to_string(entries.size()) + ": " +
                           check.problem);
  }
}

void verify_checkpoint(CheckpointStore& store, const std::string& path,
                       const std::vector<LedgerEntry>& entries, Verification& result) {
  const auto manifest = store.open(path);
  store.verify(manifest);
  const auto name = std::filesystem::path(manifest.path).filename().string();
  result.lines.push_back("checkpoint " + name + ": " + std::to_string(manifest.extents.size()) +
                         " extents right, state digest " + manifest.state_digest.substr(0, 12));
  const auto step = static_cast<std::size_t>(manifest.info.step);
  if (step > entries.size()) {
    result.good = false;
    result.lines.push_back("checkpoint " + name + ": BROKEN: the ledger ends at step " +
                           std::to_string(entries.size()));
    return;
  }
  if (step == 0) return;
  const auto& noted = entries[step - 1].state_digest;
  if (!noted.empty() && noted != manifest.state_digest) {
    result.good = false;
    result.lines.push_back("checkpoint " + name +
                           ": BROKEN: the ledger has another state digest for step " +
                           std::to_string(step));
  }
}

}  // namespace

RunRecord record_of(const RunDirectory& run) {
  auto record = run.read_record();
  const auto wall = base::Clock::system().wall();
  // What was killed whole could not say so.
  if (record.status == "running" && !is_running(run, record, wall)) record.status = "failed";
  return record;
}

RunList list_runs(base::FileSystem& files, const std::string& base) {
  RunList list;
  for (const auto& name : files.list(base)) {
    const auto path = base::join_path(base, name);
    const auto record_path = base::join_path(path, "run.json");
    if (name == "latest" || !files.file_size(record_path)) continue;
    try {
      list.runs.push_back(record_of(RunDirectory::open(files, base, name)));
    } catch (const base::Error& error) {
      list.warnings.emplace_back(error.what());
    }
  }
  std::ranges::stable_sort(list.runs, {}, &RunRecord::started);
  return list;
}

nlohmann::ordered_json show_json(base::FileSystem& files, const RunDirectory& run) {
  const auto record = record_of(run);
  auto json = nlohmann::ordered_json::parse(to_json(record));
  json["path"] = run.path();
  json["world_size"] = record.world_sizes.empty() ? 0 : record.world_sizes.back().world_size;
  json["checkpoints"] = nlohmann::ordered_json::array();
  for (const auto& summary : CheckpointStore(files, run.checkpoints_path()).list()) {
    json["checkpoints"].push_back({{"step", summary.step},
                                   {"epoch", summary.epoch},
                                   {"path", summary.path},
                                   {"bytes", summary.bytes},
                                   {"state_digest", summary.state_digest},
                                   {"valid", summary.valid}});
    if (!summary.valid) json["checkpoints"].back()["problem"] = summary.problem;
  }
  return json;
}

Verification verify_run(base::FileSystem& files, const RunDirectory& run) {
  Verification result;
  std::vector<LedgerEntry> entries;
  const auto guarded = [&](const char* what, auto&& check) {
    try {
      check();
    } catch (const base::Error& error) {
      result.good = false;
      result.lines.push_back(std::string(what) + ": BROKEN: " + error.what());
    }
  };
  guarded("ledger", [&] { verify_ledger(files, run, result, entries); });
  CheckpointStore store(files, run.checkpoints_path());
  const auto summaries = store.list();
  if (summaries.empty()) result.lines.emplace_back("checkpoints: none");
  for (const auto& summary : summaries) {
    guarded("checkpoint", [&] { verify_checkpoint(store, summary.path, entries, result); });
  }
  guarded("record", [&] {
    const auto record = run.read_record();
    if (record.status != "done" || entries.empty()) return;
    const auto& digest = entries.back().state_digest;
    if (record.step != entries.back().step || (!digest.empty() && digest != record.state_digest)) {
      result.good = false;
      result.lines.emplace_back("record: BROKEN: run.json and the ledger's last line differ");
    } else {
      result.lines.emplace_back("record: agrees with the ledger's last line");
    }
  });
  return result;
}

}  // namespace lockstep::checkpoints
