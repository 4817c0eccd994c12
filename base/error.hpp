#pragma once
// The one exception hierarchy of Lockstep and the process exit codes it maps to.
// Thrown by every floor, caught and reported once by the two mains (launcher/).
// Exceptions are plain values: safe to throw, copy and rethrow on any thread.

#include <stdexcept>
#include <string>

namespace lockstep::base {

/// Exit codes of both binaries. Do not change: part of the interface people script against.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kData = 3,
  kEnvironment = 4,
  kDiverged = 5,
  kCheckpoint = 6,
  kGate = 7,
  kRestarts = 8,
  kStopped = 75,
  kWallLimit = 124,
  kInterrupted = 130,
  kTerminated = 143,
};

/// One line of meaning for an exit code, as `lockstep explain CODE` shows it.
const char* describe(ExitCode code);

/// Base of everything Lockstep throws on purpose.
/// The text follows one grammar: `problem with the value (why it is a problem); what to do`.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// Usage or configuration is wrong; nothing was started.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(ExitCode::kUsage, message) {}
};

/// Input data is missing, has another schema, or is damaged.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(ExitCode::kData, message) {}
};

/// A checkpoint is missing, corrupt, or does not fit.
class CheckpointError : public Error {
 public:
  explicit CheckpointError(const std::string& message) : Error(ExitCode::kCheckpoint, message) {}
};

/// The file system refused (permission, no space); `error_number()` is errno.
class IoError : public Error {
 public:
  IoError(const std::string& message, int error_number)
      : Error(ExitCode::kEnvironment, message), error_number_(error_number) {}
  int error_number() const { return error_number_; }

 private:
  int error_number_;
};

/// The machine lacks something that was asked for: a library, MPI, shared memory.
class EnvironmentError : public Error {
 public:
  explicit EnvironmentError(const std::string& message) : Error(ExitCode::kEnvironment, message) {}
};

/// A device was asked for and cannot be used.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message) : Error(ExitCode::kEnvironment, message) {}
};

/// A collective failed, or another rank failed first: the text is the first reason.
class CommError : public Error {
 public:
  explicit CommError(const std::string& message, ExitCode code = ExitCode::kFailed)
      : Error(code, message) {}
};

/// A wait reached its deadline; the text names what was waited for.
class TimeoutError : public Error {
 public:
  explicit TimeoutError(const std::string& message) : Error(ExitCode::kFailed, message) {}
};

/// The loss or a gradient is no longer a finite number.
class DivergenceError : public Error {
 public:
  explicit DivergenceError(const std::string& message) : Error(ExitCode::kDiverged, message) {}
};

/// A contract between parts of Lockstep was broken: a bug here, not in the input.
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ExitCode::kFailed, message) {}
};

/// Checks a contract between parts; always on. Throws InternalError naming the place.
#define LOCKSTEP_EXPECT(condition, message)                                                  \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      throw ::lockstep::base::InternalError(std::string(message) + " (" #condition           \
                                            " is false at " __FILE__ ":" +                   \
                                            std::to_string(__LINE__) + "); report this bug"); \
    }                                                                                        \
  } while (false)

}  // namespace lockstep::base
