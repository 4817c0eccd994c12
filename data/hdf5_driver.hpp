#pragma once
// How HDF5 reads files for this folder: by pread through a file driver of our own, which can also
// tell where HDF5 would have read raw data. That is how chunk addresses are learned: HDF5 1.10 has
// no call that lists them in less than quadratic time, but it finds a single chunk quickly.
// Internal to data/. Every function needs the Hdf5Lock.

#include <cstdint>
#include <optional>

#include "data/hdf5_library.hpp"

namespace lockstep::data::detail {

/// A file access property list with this driver.
Hdf5Handle driver_access();

/// While one exists, HDF5's reads of raw data from `file` return at once, without data, and are
/// remembered.
class RawReadProbe {
 public:
  struct Place {
    std::uint64_t offset;  ///< from the start of the file
    std::uint64_t bytes;
  };

  /// `file` was opened with `driver_access`.
  explicit RawReadProbe(Hdf5Id file);
  ~RawReadProbe();
  RawReadProbe(const RawReadProbe&) = delete;
  RawReadProbe& operator=(const RawReadProbe&) = delete;

  /// The last raw read since the last call of `take`; nothing when there was none.
  std::optional<Place> take();

 private:
  struct Driven;
  friend struct DriverCalls;
  Driven* driven_;
};

}  // namespace lockstep::data::detail
