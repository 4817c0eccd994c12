#pragma once
// The one way into HDF5 for this folder: who may enter, who closes what, and how a failed call
// becomes an error. Internal to data/. hdf5.h stays in the sources: an identifier is an int64.
//
// Debian's serial HDF5 is entered by one thread of the process at a time: hold an Hdf5Lock around
// every call. It is the one process-wide lock of this floor, because HDF5's state is process-wide.

#include <cstdint>
#include <string>
#include <utility>

namespace lockstep::data::detail {

using Hdf5Id = std::int64_t;

/// While one exists, its thread alone is inside HDF5, and HDF5 prints no errors by itself.
/// May be nested.
class Hdf5Lock {
 public:
  Hdf5Lock();
  ~Hdf5Lock();
  Hdf5Lock(const Hdf5Lock&) = delete;
  Hdf5Lock& operator=(const Hdf5Lock&) = delete;

 private:
  using Handler = int (*)(Hdf5Id, void*);
  Handler former_handler_ = nullptr;
  void* former_data_ = nullptr;
};

/// Owner of one HDF5 identifier. The destructor closes it under the lock and ignores failure;
/// where a failed close matters (a written file), `close` says so.
class Hdf5Handle {
 public:
  using Close = int (*)(Hdf5Id);

  Hdf5Handle() = default;
  Hdf5Handle(Hdf5Id id, Close close_function) : id_(id), close_(close_function) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Hdf5Handle();

  Hdf5Id id() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// The result of HDF5's own close; negative when it failed.
  int close();

 private:
  Hdf5Id id_ = -1;
  Close close_ = nullptr;
};

/// `H5Oopen(group, name)`, which in HDF5 1.10 divides by zero where a damaged header claims chunks
/// of length 0. Here that is a failed call, -1; HDF5 is left as the signal found it, fit for
/// closing files and little else. Needs the lock.
Hdf5Id open_object(Hdf5Id group, const char* name);

/// The dataset `name` of `file`. Throws DataError, in which `what` names it. Needs the lock.
Hdf5Handle open_dataset(Hdf5Id file, const std::string& name, const std::string& what);

/// What HDF5's error stack says about the last failed call: the outermost and the innermost reason.
/// Clears the stack. Needs the lock.
std::string hdf5_reason();

/// `result` of a reading call. Throws DataError `what (call: reason); advice` when it is negative.
/// Needs the lock.
Hdf5Id read_checked(Hdf5Id result, const char* call, const std::string& what,
                    const std::string& advice);

/// `result` of a writing call. Throws IoError when it is negative. Needs the lock.
Hdf5Id write_checked(Hdf5Id result, const char* call, const std::string& what);

}  // namespace lockstep::data::detail
