#pragma once
// Collects what is wrong while a configuration is read, so that all of it is reported at once.
// One reading has one of these; one thread.

#include <cstddef>
#include <string>
#include <vector>

#include "configs/diagnostic.hpp"
#include "configs/document.hpp"

namespace lockstep::configs {

class Problems {
 public:
  void add(std::string message, const Place& place, std::string note = {});
  /// Says that a part of the configuration could not be read: what is missing from it is no
  /// mistake of the user.
  void set_incomplete() { incomplete_ = true; }
  bool incomplete() const { return incomplete_; }
  /// True when more would not be shown, and looking for advice is wasted.
  bool full() const { return found_.size() >= kMostDiagnostics; }
  /// Throws ConfigErrors when there is any problem: by file in the order of first mention, then
  /// by line.
  void throw_if_any() const;

 private:
  std::vector<Diagnostic> found_;
  std::size_t dropped_ = 0;
  bool incomplete_ = false;
};

}  // namespace lockstep::configs
