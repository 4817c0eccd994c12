#pragma once
// Reads a run's configuration: YAML with includes, interpolation and overrides, bound to the knobs
// of run_config.hpp and validated as a whole. Used by the launcher and by a worker that was
// started directly. Functions of their arguments and the named files; any thread.

#include <map>
#include <string>
#include <vector>

#include "configs/diagnostic.hpp"
#include "configs/run_config.hpp"

namespace lockstep::configs {

/// Where a value came from.
struct Origin {
  enum class Kind { kDefault, kFile, kOverride, kEnvironment };
  Kind kind = Kind::kDefault;
  std::string file;  ///< of kFile, and of the `${env:…}` of kEnvironment
  int line = 0;
  int column = 0;
  std::string text;  ///< as written: the value, the whole override, or the interpolation
};

struct ReadOptions {
  std::vector<std::string> overrides;              ///< `a.b=v`, `+a.b=v`, `~a.b`, in order
  std::map<std::string, std::string> environment;  ///< what `${env:NAME}` sees
};

struct LoadedConfig {
  RunConfig config;
  std::map<std::string, Origin> origins;  ///< by full name, every knob
  std::vector<std::string> overrides;     ///< as given
  std::string main_file;                  ///< as given
};

/// The configuration in a file. Throws ConfigErrors with everything that is wrong at once, a
/// missing file or unreadable YAML included.
LoadedConfig read_config(const std::string& path, const ReadOptions& options);

/// The same for text in memory; `name` stands for its path in messages and for `include:`.
LoadedConfig read_config_text(const std::string& text, const std::string& name,
                              const ReadOptions& options);

/// `exp.yaml:3:5`, `override 'train.lr=1'`, `default`.
std::string describe_origin(const Origin& origin);

}  // namespace lockstep::configs
