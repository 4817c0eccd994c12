#include "checkpoints/run_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <utility>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/held_path.hpp"
#include "base/process_status.hpp"
#include "base/text.hpp"
#include "checkpoints/manifest.hpp"
#include "checkpoints/run_names.hpp"

namespace lockstep::checkpoints {
namespace {

constexpr char kLatest[] = "latest";
constexpr char kRecord[] = "run.json";

// Do not change: part of the format, see FORMAT.md.
constexpr int kFormatVersion = 1;

/// Makes the folder, and says whether it did; false = it exists already. Unlike
/// make_directories this decides between two runs that start at once.
bool make_new_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) return true;
  if (errno == EEXIST) return false;
  const int number = errno;
  throw base::IoError("making run directory " + base::quote(path) + " failed (" +
                          std::strerror(number) + "); check its permissions or set run.directory",
                      number);
}

void require_file_name(const std::string& name) {
  const auto odd = [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '/'; };
  const bool good = name != kLatest && name.front() != '-' && name.front() != '.' &&
                    name.size() <= 200 && std::ranges::none_of(name, odd);
  if (good) return;
  throw base::ConfigError(
      "run name " + base::quote(name) +
      " cannot be a run's folder (no slash, no leading dash or dot, at most 200 "
      "characters, not 'latest'); choose another --name");
}

std::vector<std::string> run_names_in(base::FileSystem& files, const std::string& base) {
  std::vector<std::string> names;
  for (const auto& name : files.list(base)) {
    if (name != kLatest && files.file_size(base::join_path(base::join_path(base, name), kRecord))) {
      names.push_back(name);
    }
  }
  return names;
}

/// `rank_00007.jsonl`
std::string file_of(int rank, const char* ending) {
  char text[40];
  std::snprintf(text, sizeof text, "rank_%05d.%s", rank, ending);
  return text;
}

}  // namespace

std::chrono::duration<double> age_of(const RunRecord& record, std::chrono::nanoseconds wall) {
  std::tm parts{};
  if (::strptime(record.started.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return {};
  const std::chrono::seconds begin(::timegm(&parts));
  return std::max<std::chrono::duration<double>>(wall - begin, std::chrono::seconds(0));
}

std::string to_json(const RunRecord& record) {
  nlohmann::ordered_json json;
  json["format"] = "lockstep-run";
  json["version"] = kFormatVersion;
  json["id"] = record.id;
  json["name"] = record.name;
  json["parent"] = record.parent;
  json["command"] = record.command;
  json["commit"] = record.commit;
  json["dirty"] = record.dirty;
  json["build_id"] = record.build_id;
  json["config_hash"] = record.config_hash;
  json["data"] = nlohmann::ordered_json::object();
  for (const auto& [use, data] : record.data) {
    json["data"][use] = {
        {"path", data.path}, {"fingerprint", data.fingerprint}, {"samples", data.samples}};
  }
  json["seed"] = record.seed;
  json["hosts"] = record.hosts;
  json["versions"] = record.versions;
  json["world_sizes"] = nlohmann::ordered_json::array();
  for (const auto& change : record.world_sizes) {
    json["world_sizes"].push_back({{"step", change.step}, {"world_size", change.world_size}});
  }
  json["status"] = record.status;
  json["exit_code"] = nullptr;
  if (record.exit_code >= 0) json["exit_code"] = record.exit_code;
  json["started"] = record.started;
  json["ended"] = record.ended;
  json["step"] = record.step;
  json["epoch"] = record.epoch;
  json["state_digest"] = record.state_digest;
  json["metrics"] = record.metrics;
  json["restarts"] = record.restarts;
  if (record.step_anatomy.steps > 0) json["step_anatomy"] = to_json(record.step_anatomy);
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

RunRecord parse_run_record(const std::string& text, const std::string& path) {
  RunRecord record;
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.value("version", kFormatVersion) > kFormatVersion) {
      throw base::CheckpointError(
          "run record " + base::quote(path) +
          " was written by a newer Lockstep (this one reads up to version " +
          std::to_string(kFormatVersion) + "); use that version");
    }
    record.id = json.at("id");
    record.name = json.at("name");
    record.parent = json.value("parent", "");
    record.command = json.at("command").get<std::vector<std::string>>();
    record.commit = json.at("commit");
    record.dirty = json.at("dirty");
    record.build_id = json.at("build_id");
    record.config_hash = json.at("config_hash");
    for (const auto& [use, data] : json.at("data").items()) {
      record.data[use] = {.path = data.at("path"),
                          .fingerprint = data.at("fingerprint"),
                          .samples = data.at("samples")};
    }
    record.seed = json.at("seed");
    record.hosts = json.at("hosts").get<std::vector<std::string>>();
    record.versions = json.at("versions").get<std::map<std::string, std::string>>();
    for (const auto& change : json.at("world_sizes")) {
      record.world_sizes.push_back(
          {.step = change.at("step"), .world_size = change.at("world_size")});
    }
    record.status = json.at("status");
    record.exit_code = json.at("exit_code").is_null() ? -1 : json.at("exit_code").get<int>();
    record.started = json.at("started");
    record.ended = json.at("ended");
    record.step = json.at("step");
    record.epoch = json.at("epoch");
    record.state_digest = json.at("state_digest");
    for (const auto& [name, value] : json.at("metrics").items()) {
      // JSON has no NaN: a metric that is none is written as null.
      record.metrics[name] =
          value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    }
    record.restarts = json.at("restarts");
    if (const auto anatomy = json.find("step_anatomy"); anatomy != json.end()) {
      record.step_anatomy = parse_step_anatomy(*anatomy);
    }
  } catch (const nlohmann::json::exception& error) {
    throw base::CheckpointError("run record " + base::quote(path) + " does not parse (" +
                                error.what() + "); restore it from a copy");
  }
  return record;
}

RunDirectory RunDirectory::create(base::FileSystem& files, const std::string& base,
                                  const std::string& name) {
  const bool first = !files.is_directory(base);
  files.make_directories(base);
  std::string path;
  if (name.empty()) {
    std::random_device random;
    auto number = std::uint64_t{random()};
    for (std::uint64_t tried = 0;; ++tried, ++number) {
      auto fresh = run_name(number);
      if (tried >= run_name_count()) fresh += "-" + std::to_string(tried);
      path = base::join_path(base, fresh);
      if (make_new_directory(path)) break;
    }
  } else {
    require_file_name(name);
    path = base::join_path(base, name);
    if (!make_new_directory(path)) {
      if (!files.file_size(base::join_path(path, kRecord))) {
        throw base::ConfigError("run folder " + base::quote(path) +
                                " exists and is no run (it has no run.json: something else is in "
                                "it, or a start was cut off); choose another --name, or remove the "
                                "folder");
      }
      throw base::ConfigError("run " + base::quote(name) + " exists in " + base::quote(base) +
                              " (a run is never overwritten); go on with 'lockstep resume " + name +
                              "', or choose another --name");
    }
  }
  for (const char* folder : {"logs", "checkpoints", "health", "tensorboard"}) {
    files.make_directories(base::join_path(path, folder));
  }
  files.sync_directory(path);
  RunDirectory run(files, path);
  files.replace_link(run.name(), base::join_path(base, kLatest));
  files.sync_directory(base);
  if (first) files.sync_directory(base::parent_path(base));
  return run;
}

RunDirectory RunDirectory::open(base::FileSystem& files, const std::string& base,
                                const std::string& run) {
  const auto is_run = [&](const std::string& path) {
    return files.file_size(base::join_path(path, kRecord)).has_value();
  };
  if (!run.empty()) {
    std::error_code code;
    for (const auto& path : {base::join_path(base, run), run}) {
      if (!is_run(path)) continue;
      const auto real = std::filesystem::canonical(path, code).string();
      return {files, code ? path : real};
    }
  }
  const auto nearest = base::nearest_name(run, run_names_in(files, base));
  throw base::CheckpointError(
      "run " + base::quote(run) +
      " does not exist (neither a folder nor a "
      "name in " +
      base::quote(base) + "); " +
      (nearest ? "did you mean '" + *nearest + "'?" : "list the runs with 'lockstep runs'"));
}

std::string RunDirectory::name() const { return std::filesystem::path(path_).filename().string(); }

std::string RunDirectory::log_path(int rank) const {
  return join("logs/" + file_of(rank, "jsonl"));
}

std::string RunDirectory::stack_path(int rank) const {
  return base::join_path(diagnostics_path(), file_of(rank, "stack"));
}

std::string RunDirectory::memory_path(int rank) const {
  return base::join_path(diagnostics_path(), file_of(rank, "memory.pickle"));
}

std::string RunDirectory::profile_path(int rank) const {
  return join("profiles/" + file_of(rank, "json"));
}

RunRecord RunDirectory::read_record() const {
  return parse_run_record(files_->read_text(record_path()), record_path());
}

void RunDirectory::write_record(const RunRecord& record) const {
  files_->write_atomically(record_path(), to_json(record));
}

RunTarget open_target(base::FileSystem& files, const std::string& base, const std::string& target) {
  const auto path = base::absolute_path(target);
  if (!files.file_size(base::join_path(path, kManifestName))) {
    return {.run = RunDirectory::open(files, base, target), .checkpoint = {}};
  }
  // A checkpoint lies in RUN/checkpoints/step-N.
  const auto run = base::parent_path(base::parent_path(path));
  return {.run = RunDirectory::open(files, base, run), .checkpoint = path};
}

namespace {

std::string lock_path(const RunDirectory& run) { return base::join_path(run.path(), "lock"); }

/// What the lock's holder wrote into it.
std::string read_holder(int descriptor) {
  std::string holder(256, '\0');
  const auto got = ::pread(descriptor, holder.data(), holder.size(), 0);
  holder.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return holder.empty() ? "another process" : holder;
}

/// Whether the process that `holder` names has ended but for what the kernel has still to do: its
/// memory goes first, which takes a while, and its locks go last.
bool is_ending(const std::string& holder) {
  int pid = 0;
  std::array<char, 256> host{};
  if (std::sscanf(holder.c_str(), "process %d on host %255s", &pid, host.data()) != 2) return false;
  if (base::host_name() != host.data()) return false;
  const auto status = base::process_status(pid);
  if (!status || status->state == 'Z' || status->state == 'X') return true;
  std::ifstream words("/proc/" + std::to_string(pid) + "/cmdline");
  return words.good() && words.peek() == std::ifstream::traits_type::eof();
}

/// Calls `taken`, which says who holds a lock or nothing, until nobody does; again only while who
/// does is ending.
std::string holder_that_stays(const std::function<std::string()>& taken) {
  constexpr std::chrono::seconds kPatience{5};
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto holder = taken();
    const bool wait =
        !holder.empty() && is_ending(holder) && std::chrono::steady_clock::now() < end;
    if (!wait) return holder;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

base::EnvironmentError held_by(const RunDirectory& run, const std::string& holder) {
  return base::EnvironmentError("run " + base::quote(run.name()) + " is being written by " +
                                holder +
                                " (two trainers would destroy it); wait for it or stop it");
}

}  // namespace

std::string this_holder() {
  return "process " + std::to_string(::getpid()) + " on host " + base::host_name();
}

std::string holder_of(const RunDirectory& run) {
  const int descriptor = ::open(lock_path(run).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {};
  // Given back at once; whoever wants it in between asks again.
  const bool held = ::flock(descriptor, LOCK_SH | LOCK_NB) != 0;
  const auto holder = held ? read_holder(descriptor) : std::string();
  ::close(descriptor);
  return holder;
}

void require_free(const RunDirectory& run) {
  const auto holder = holder_that_stays([&] { return holder_of(run); });
  if (!holder.empty()) throw held_by(run, holder);
}

RunLock::RunLock(const RunDirectory& run) {
  const auto path = lock_path(run);
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    const int number = errno;
    throw base::IoError("opening " + base::quote(path) + " failed (" + std::strerror(number) +
                            "); check the permissions of the run directory",
                        number);
  }
  const auto holder = holder_that_stays([&] {
    return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 ? std::string() : read_holder(descriptor_);
  });
  if (!holder.empty()) {
    ::close(descriptor_);
    throw held_by(run, holder);
  }
  const auto text = this_holder();
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::pwrite(descriptor_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    // The lock holds all the same; only its holder's name is missing.
    return;
  }
}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RunLock::RunLock(RunLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

// Its own file: the lock's belongs to who writes the run, and run.json is replaced by each write.
RunMinder::RunMinder(const RunDirectory& run)
    : descriptor_(::open(run.config_path().c_str(), O_RDONLY | O_CLOEXEC)) {
  // Whoever looks whether there is a minder has it for a moment.
  if (descriptor_ >= 0) base::hold(descriptor_, base::Hold::kShared);
}

RunMinder::~RunMinder() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool is_running(const RunDirectory& run, const RunRecord& record, std::chrono::nanoseconds wall) {
  constexpr std::chrono::seconds kYoung{20};
  if (record.status != "running") return false;
  if (age_of(record, wall) < kYoung || !holder_of(run).empty()) return true;
  // NFS locks for writing only what is open for writing.
  int descriptor = ::open(run.config_path().c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) descriptor = ::open(run.config_path().c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool nobody = base::hold_now(descriptor, base::Hold::kAlone);
  ::close(descriptor);
  return !nobody;
}

std::string fresh_id() {
  std::random_device random;
  std::string id;
  char text[9];
  for (int i = 0; i < 4; ++i) {
    std::snprintf(text, sizeof text, "%08x", random());
    id += text;
  }
  return id;
}

}  // namespace lockstep::checkpoints
