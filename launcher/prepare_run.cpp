#include "launcher/prepare_run.hpp"

#include <build_id.hpp>

#include "base/clock.hpp"
#include "base/environment.hpp"
#include "base/text.hpp"
#include "checkpoints/source_version.hpp"
#include "configs/writer.hpp"

namespace lockstep::launcher {
namespace {

std::string as_lines(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += part + "\n";
  return text;
}

checkpoints::RunRecord record_of(const configs::RunConfig& config, const RunRequest& request,
                                 const checkpoints::SourceVersion& source) {
  checkpoints::RunRecord record;
  record.id = checkpoints::fresh_id();
  record.parent = request.parent;
  record.command = request.command;
  record.commit = source.commit;
  record.dirty = source.dirty;
  record.build_id = kBuildId;
  record.config_hash = configs::config_hash(config);
  record.data["train"].path = base::joined(config.data.train);
  if (!config.data.test.empty()) record.data["test"].path = base::joined(config.data.test);
  record.seed = config.train.seed;
  record.hosts = request.hosts;
  if (record.hosts.empty()) record.hosts = {base::host_name()};
  record.versions["lockstep"] = kVersion;
  record.world_sizes = {{.step = 0, .world_size = request.ranks}};
  record.status = "running";
  record.started = base::format_utc(base::Clock::system().wall());
  return record;
}

}  // namespace

checkpoints::RunDirectory prepare_run(const configs::LoadedConfig& loaded,
                                      const RunRequest& request) {
  auto& files = base::FileSystem::posix();
  const auto source = checkpoints::source_version(request.working_directory);
  auto record = record_of(loaded.config, request, source);
  auto run =
      checkpoints::RunDirectory::create(files, loaded.config.run.directory, loaded.config.run.name);
  record.name = run.name();

  // The saved file can be run again as it stands, so it must not ask for the name that is taken.
  auto saved = loaded.config;
  saved.run.name.clear();
  // Nor may it depend on the folder it is run from.
  for (auto* paths : {&saved.data.train, &saved.data.test}) {
    for (auto& path : *paths) path = base::absolute_path(path);
  }
  auto origins = loaded.origins;
  origins.erase("run.name");
  files.write_atomically(run.config_path(), configs::to_yaml(saved, &origins));
  files.write_atomically(run.overrides_path(), as_lines(loaded.overrides));
  if (source.dirty) files.write_atomically(run.patch_path(), source.patch);
  // Last: a directory without run.json is no run.
  run.write_record(record);
  return run;
}

}  // namespace lockstep::launcher
