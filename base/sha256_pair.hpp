#pragma once
// SHA-256 of two texts of equal length at once. A processor's instructions for SHA-256 wait for
// each other within one text, so two texts in turns take hardly longer than one. For whoever hashes
// a lot: checkpoints. Without such instructions it is two times base::Sha256. An object belongs to
// one thread.

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/hash.hpp"

namespace lockstep::base {

class Sha256Pair {
 public:
  Sha256Pair();
  ~Sha256Pair();
  Sha256Pair(Sha256Pair&&) noexcept;
  Sha256Pair& operator=(Sha256Pair&&) noexcept;

  /// The next piece of each text; the two have one length.
  void update(std::span<const std::byte> first, std::span<const std::byte> second);
  /// The digests of everything so far; the object starts anew.
  std::array<Sha256Digest, 2> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The digest of each text in hexadecimal; neighbours of equal length are hashed in pairs.
std::vector<std::string> sha256_hex_each(std::span<const std::span<const std::byte>> texts);

}  // namespace lockstep::base
