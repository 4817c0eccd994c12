#include "data/hdf5_driver.hpp"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.hpp"

namespace lockstep::data::detail {

/// HDF5 keeps a pointer to `file`, which therefore comes first.
struct RawReadProbe::Driven {
  H5FD_t file{};
  int descriptor = -1;
  haddr_t allocated = 0;
  haddr_t size = 0;
  bool probing = false;
  std::optional<Place> last;
};

struct DriverCalls {
  using Driven = RawReadProbe::Driven;

  static Driven* driven(H5FD_t* file) { return reinterpret_cast<Driven*>(file); }
  static const Driven* driven(const H5FD_t* file) { return reinterpret_cast<const Driven*>(file); }

  static H5FD_t* open(const char* name, unsigned flags, hid_t, haddr_t) {
    if ((flags & H5F_ACC_RDWR) != 0) return nullptr;
    auto made = std::make_unique<Driven>();
    made->descriptor = ::open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    if (made->descriptor < 0 || ::fstat(made->descriptor, &status) != 0 ||
        !S_ISREG(status.st_mode)) {
      if (made->descriptor >= 0) ::close(made->descriptor);
      return nullptr;
    }
    made->size = static_cast<haddr_t>(status.st_size);
    return &made.release()->file;
  }

  static herr_t close(H5FD_t* file) {
    const std::unique_ptr<Driven> ended(driven(file));
    return ::close(ended->descriptor) == 0 ? 0 : -1;
  }

  static herr_t query(const H5FD_t*, unsigned long* features) {
    *features = H5FD_FEAT_ACCUMULATE_METADATA_READ | H5FD_FEAT_DATA_SIEVE;
    return 0;
  }

  static haddr_t end_of_allocation(const H5FD_t* file, H5FD_mem_t) {
    return driven(file)->allocated;
  }

  static herr_t set_end_of_allocation(H5FD_t* file, H5FD_mem_t, haddr_t address) {
    driven(file)->allocated = address;
    return 0;
  }

  static haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) { return driven(file)->size; }

  static herr_t get_handle(H5FD_t* file, hid_t, void** handle) {
    *handle = file;
    return 0;
  }

  static herr_t read(H5FD_t* file, H5FD_mem_t type, hid_t, haddr_t offset, size_t count,
                     void* buffer) {
    auto& from = *driven(file);
    if (from.probing && type == H5FD_MEM_DRAW) {
      from.last = RawReadProbe::Place{offset, count};
      return 0;
    }
    auto* bytes = static_cast<char*>(buffer);
    while (count > 0) {
      const auto got = ::pread(from.descriptor, bytes, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return -1;
      if (got == 0) {
        // As HDF5's own driver has it: what is allocated beyond the end of the file is zero.
        std::memset(bytes, 0, count);
        return 0;
      }
      bytes += got;
      offset += static_cast<haddr_t>(got);
      count -= static_cast<size_t>(got);
    }
    return 0;
  }

  static herr_t write(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, size_t, const void*) { return -1; }
};

namespace {

H5FD_class_t driver_class() {
  H5FD_class_t driver{};
  driver.name = "lockstep_read";
  driver.maxaddr = (haddr_t{1} << 62) - 1;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.open = DriverCalls::open;
  driver.close = DriverCalls::close;
  driver.query = DriverCalls::query;
  driver.get_eoa = DriverCalls::end_of_allocation;
  driver.set_eoa = DriverCalls::set_end_of_allocation;
  driver.get_eof = DriverCalls::end_of_file;
  driver.get_handle = DriverCalls::get_handle;
  driver.read = DriverCalls::read;
  driver.write = DriverCalls::write;
  std::fill(std::begin(driver.fl_map), std::end(driver.fl_map), H5FD_MEM_DEFAULT);
  return driver;
}

/// HDF5 knows drivers by the process; it keeps the pointer.
hid_t registered_driver() {
  static const H5FD_class_t kClass = driver_class();
  static const hid_t kDriver = H5FDregister(&kClass);
  return kDriver;
}

}  // namespace

Hdf5Handle driver_access() {
  Hdf5Handle access(read_checked(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", "HDF5 cannot be used",
                                 "check the HDF5 library"),
                    H5Pclose);
  read_checked(H5Pset_driver(access.id(), registered_driver(), nullptr), "H5Pset_driver",
               "HDF5 cannot be used", "check the HDF5 library");
  return access;
}

RawReadProbe::RawReadProbe(Hdf5Id file) {
  void* handle = nullptr;
  const auto result = H5Fget_vfd_handle(file, H5P_DEFAULT, &handle);
  LOCKSTEP_EXPECT(result >= 0 && handle != nullptr, "the HDF5 file has another driver");
  driven_ = static_cast<Driven*>(handle);
  driven_->probing = true;
  driven_->last.reset();
}

RawReadProbe::~RawReadProbe() { driven_->probing = false; }

std::optional<RawReadProbe::Place> RawReadProbe::take() {
  return std::exchange(driven_->last, std::nullopt);
}

}  // namespace lockstep::data::detail
