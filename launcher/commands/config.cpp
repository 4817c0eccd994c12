// `config show|explain|reference|schema`: the knobs and where their values come from.

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "configs/reader.hpp"
#include "configs/reference.hpp"
#include "configs/writer.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/commands/launch_options.hpp"

namespace lockstep::launcher {
namespace {

class ConfigFile {
 public:
  void declare(CLI::App& app) { app.add_option("CONFIG", path_, "configuration file")->required(); }
  void declare_overrides(CLI::App& app) {
    app.add_option("overrides", overrides_, "key=value, +key=value or ~key");
  }
  configs::LoadedConfig read(const Session& session) const {
    check_overrides(overrides_);
    return configs::read_config(path_, {overrides_, session.environment});
  }

 private:
  std::string path_;
  std::vector<std::string> overrides_;
};

class ConfigShow final : public Command {
 public:
  void declare(CLI::App& app) override {
    file_.declare(app);
    file_.declare_overrides(app);
    app.add_flag("--json", json_, "as JSON, without origins");
  }
  int run(const Session& session) override {
    const auto loaded = file_.read(session);
    print(json_ ? configs::to_json(loaded.config).dump(2) + "\n"
                : configs::to_yaml(loaded.config, &loaded.origins));
    return 0;
  }

 private:
  ConfigFile file_;
  bool json_ = false;
};

class ConfigExplain final : public Command {
 public:
  void declare(CLI::App& app) override {
    file_.declare(app);
    app.add_option("KEY", key_, "knob or section, such as train.lr")->required();
    file_.declare_overrides(app);
  }
  int run(const Session& session) override {
    auto text = configs::explain(file_.read(session), key_);
    if (!text.ends_with('\n')) text += '\n';
    print(text);
    return 0;
  }

 private:
  ConfigFile file_;
  std::string key_;
};

class ConfigReference final : public Command {
 public:
  void declare(CLI::App&) override {}
  int run(const Session&) override {
    print(configs::reference_markdown());
    return 0;
  }
};

class ConfigSchema final : public Command {
 public:
  void declare(CLI::App&) override {}
  int run(const Session&) override {
    auto text = configs::json_schema();
    if (!text.ends_with('\n')) text += '\n';
    print(text);
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> make_config_show() { return std::make_unique<ConfigShow>(); }
std::unique_ptr<Command> make_config_explain() { return std::make_unique<ConfigExplain>(); }
std::unique_ptr<Command> make_config_reference() { return std::make_unique<ConfigReference>(); }
std::unique_ptr<Command> make_config_schema() { return std::make_unique<ConfigSchema>(); }

}  // namespace lockstep::launcher
