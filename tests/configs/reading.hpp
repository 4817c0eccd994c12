#pragma once
// Short ways to read a configuration in tests and to look at what is wrong with it.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "configs/reader.hpp"

namespace lockstep::configs {

/// A valid configuration in four lines; tests put more below it or override it.
inline const std::string kSmall =
    "model: {name: mlp}\n"
    "data: {train: a.h5}\n"
    "launch: {ranks: 1}\n"
    "train: {epochs: 1, global_batch: 8, micro_batch: 2}\n";

inline LoadedConfig read_text(const std::string& text, const ReadOptions& options = {}) {
  return read_config_text(text, "exp.yaml", options);
}

inline LoadedConfig read_small(const std::vector<std::string>& overrides) {
  return read_text(kSmall, {.overrides = overrides, .environment = {}});
}

/// What reading `text` reports; fails the test when it reports nothing.
inline std::vector<Diagnostic> problems_of(const std::string& text,
                                           const ReadOptions& options = {}) {
  try {
    read_text(text, options);
  } catch (const ConfigErrors& errors) {
    return errors.diagnostics;
  }
  ADD_FAILURE() << "nothing was reported for:\n" << text;
  return {};
}

inline std::vector<Diagnostic> problems_of_small(const std::vector<std::string>& overrides) {
  return problems_of(kSmall, {.overrides = overrides, .environment = {}});
}

inline std::vector<std::string> messages(const std::vector<Diagnostic>& diagnostics) {
  std::vector<std::string> texts;
  for (const auto& diagnostic : diagnostics) texts.push_back(diagnostic.message);
  return texts;
}

/// The only problem there is, with its advice: `message | note`.
inline std::string only_problem(const std::vector<Diagnostic>& diagnostics) {
  if (diagnostics.size() != 1) {
    ADD_FAILURE() << diagnostics.size() << " problems:\n" << render(diagnostics, false);
    return {};
  }
  return diagnostics[0].message + " | " + diagnostics[0].note;
}

}  // namespace lockstep::configs
