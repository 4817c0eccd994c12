#pragma once
// What was computed from files once, kept between commands in a folder of the user's. Used by the
// fingerprint's memory and by statistics. It is a cache: an entry that is missing, damaged or of
// another version is as if it was never stored, and a folder that cannot be written is no error.
// Any thread and process may use the same folder at a time.

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace lockstep::data {

/// Removes the oldest files of `directory` whose names end in `extension` (with its dot) until
/// `most` are left. Throws std::filesystem::filesystem_error.
void keep_newest(const std::string& directory, const std::string& extension, std::size_t most);

class ResultCache {
 public:
  /// Keeps nothing.
  ResultCache() = default;
  /// Keeps entries in `directory`, which is made when first needed; empty keeps nothing.
  explicit ResultCache(std::string directory) : directory_(std::move(directory)) {}

  /// What was stored for exactly this `key`.
  std::optional<std::string> load(const std::string& kind, const std::string& key) const noexcept;
  /// `value` is UTF-8. Replaces what was stored for `key`; the folder keeps the newest entries.
  void store(const std::string& kind, const std::string& key,
             const std::string& value) const noexcept;

 private:
  std::string entry_path(const std::string& kind, const std::string& key) const;

  std::string directory_;
};

}  // namespace lockstep::data
