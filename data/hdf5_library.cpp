#include "data/hdf5_library.hpp"

#include <hdf5.h>
#include <setjmp.h>
#include <signal.h>

#include <cerrno>
#include <mutex>
#include <type_traits>
#include <vector>

#include "base/error.hpp"

namespace lockstep::data::detail {
namespace {

static_assert(std::is_same_v<hid_t, Hdf5Id>, "hid_t must be the 64-bit one of HDF5 1.10 and newer");

/// Recursive: a handle that closes while its owner works inside HDF5 takes it again.
std::recursive_mutex& process_lock() {
  static std::recursive_mutex mutex;
  // Every handle has an owner here. HDF5's own tidying at exit has nothing to add, and complains at
  // length about what damaged files made it lose.
  [[maybe_unused]] static const herr_t kNoTidying = H5dont_atexit();
  return mutex;
}

herr_t collect(unsigned, const H5E_error2_t* error, void* texts) {
  if (error->desc != nullptr && *error->desc != '\0') {
    static_cast<std::vector<std::string>*>(texts)->emplace_back(error->desc);
  }
  return 0;
}

/// Where to go on this thread when a division by zero ends a call into HDF5.
thread_local sigjmp_buf* after_division = nullptr;

void leave_division(int) {
  // Another thread's division is not ours to catch: it happens again under the default action.
  if (after_division == nullptr) {
    ::signal(SIGFPE, SIG_DFL);
    return;
  }
  siglongjmp(*after_division, 1);
}

}  // namespace

Hdf5Id open_object(Hdf5Id group, const char* name) {
  struct sigaction action {};
  struct sigaction former {};
  action.sa_handler = leave_division;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGFPE, &action, &former);
  sigjmp_buf here;
  volatile Hdf5Id opened = -1;
  if (sigsetjmp(here, 1) == 0) {
    after_division = &here;
    opened = H5Oopen(group, name, H5P_DEFAULT);
  }
  after_division = nullptr;
  ::sigaction(SIGFPE, &former, nullptr);
  return opened;
}

Hdf5Handle open_dataset(Hdf5Id file, const std::string& name, const std::string& what) {
  return {read_checked(H5Dopen2(file, name.c_str(), H5P_DEFAULT), "H5Dopen2",
                       what + " cannot be opened", "the file is damaged; copy or make it again"),
          H5Dclose};
}

Hdf5Lock::Hdf5Lock() {
  process_lock().lock();
  H5Eget_auto2(H5E_DEFAULT, &former_handler_, &former_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Lock::~Hdf5Lock() {
  H5Eset_auto2(H5E_DEFAULT, former_handler_, former_data_);
  process_lock().unlock();
}

Hdf5Handle::~Hdf5Handle() { close(); }

int Hdf5Handle::close() {
  if (id_ < 0) return 0;
  const Hdf5Lock lock;
  return close_(std::exchange(id_, -1));
}

std::string hdf5_reason() {
  std::vector<std::string> texts;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, collect, &texts);
  H5Eclear2(H5E_DEFAULT);
  if (texts.empty()) return "no reason given";
  if (texts.size() == 1 || texts.front() == texts.back()) return texts.front();
  return texts.front() + ": " + texts.back();
}

Hdf5Id read_checked(Hdf5Id result, const char* call, const std::string& what,
                    const std::string& advice) {
  if (result < 0) {
    throw base::DataError(what + " (" + call + ": " + hdf5_reason() + "); " + advice);
  }
  return result;
}

Hdf5Id write_checked(Hdf5Id result, const char* call, const std::string& what) {
  if (result < 0) {
    const int error_number = errno;
    throw base::IoError(what + " (" + call + ": " + hdf5_reason() +
                            "); check the free space and the permissions there",
                        error_number);
  }
  return result;
}

}  // namespace lockstep::data::detail
