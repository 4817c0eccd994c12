// `data synth KIND --rows N --output F.h5`: a learnable dataset made from a seed.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>

#include "base/error.hpp"
#include "base/text.hpp"
#include "data/synth.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {
namespace {

data::TaskKind kind_of(const std::string& word) {
  if (word == "classification") return data::TaskKind::kClassification;
  if (word == "regression") return data::TaskKind::kRegression;
  if (word == "tokens") return data::TaskKind::kTokens;
  static const std::array<std::string, 3> kNames{"classification", "regression", "tokens"};
  const auto nearest = base::nearest_name(word, kNames);
  throw base::ConfigError(fmt::format(
      "kind {} cannot be synthesised (there are {}); {}", base::quote(word), base::joined(kNames),
      nearest ? fmt::format("did you mean '{}'?", *nearest) : std::string("use one of them")));
}

/// `3,32,32`
std::vector<std::int64_t> shape_of(const std::string& text) {
  std::vector<std::int64_t> shape;
  for (const auto& part : base::split(text, ',')) {
    std::int64_t size = 0;
    const auto* end = part.data() + part.size();
    const auto [stop, error] = std::from_chars(part.data(), end, size);
    if (error != std::errc() || stop != end || size < 1) {
      throw base::ConfigError(
          fmt::format("shape {} cannot be read at {} (sizes are positive and parted by commas); "
                      "write for example --shape 3,32,32",
                      base::quote(text), base::quote(part)));
    }
    shape.push_back(size);
  }
  return shape;
}

class DataSynth final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("KIND", kind_, "classification, regression or tokens")->required();
    app.add_option("--rows", options_.rows, "samples, or tokens")->required()->type_name("N");
    app.add_option("--shape", shape_, "of one image-like input, such as 3,32,32")
        ->type_name("C,H,W");
    app.add_option("--features", options_.features, "of one flat input")->type_name("F");
    app.add_option("--classes", options_.classes, "classes, or size of the vocabulary")
        ->type_name("C");
    app.add_option("--seed", options_.seed, "the file is a function of it (default: 1)")
        ->type_name("S");
    app.add_option("--chunk-rows", options_.layout.chunk_rows, "rows of an HDF5 chunk, 0 = one run")
        ->type_name("N");
    app.add_option("--deflate", options_.layout.deflate, "compression level 1 to 9, 0 = none")
        ->type_name("L");
    app.add_option("--output", options_.output, "HDF5 file to write")
        ->required()
        ->type_name("F.h5");
  }

  int run(const Session& session) override {
    options_.kind = kind_of(kind_);
    options_.shape = shape_of(shape_);
    data::synthesize(options_);
    print_message(session.messages,
                  fmt::format("wrote {}: {} {}\n", options_.output,
                              base::format_count(static_cast<std::uint64_t>(options_.rows)),
                              options_.kind == data::TaskKind::kTokens ? "tokens" : "rows"));
    return 0;
  }

 private:
  std::string kind_;
  std::string shape_;
  data::SynthOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_data_synth() { return std::make_unique<DataSynth>(); }

}  // namespace lockstep::launcher
