#pragma once
// health/<host>.json of a run: once a second, what each rank of this host does, as the status board
// shows it. Written by the first rank of a host, on a thread of its own, whole or not at all.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file_system.hpp"
#include "launcher/status_board.hpp"

namespace lockstep::launcher {

/// The file's text: time, host, and for each of `ranks` pid, phase, step, seconds in the phase and
/// what it waits for. Any thread.
std::string health_text(StatusBoard& board, const std::vector<int>& ranks, const std::string& host,
                        const std::string& time);

class HealthWriter {
 public:
  /// `ranks` are those of this host. Both references must outlive it. A file that cannot be written
  /// is left out: health is for looking at, never a reason to fail.
  /// `each_time` is called with every write, on that thread.
  HealthWriter(base::FileSystem& files, std::string path, StatusBoard& board,
               std::vector<int> ranks, std::function<void()> each_time = {});
  ~HealthWriter();
  HealthWriter(const HealthWriter&) = delete;
  HealthWriter& operator=(const HealthWriter&) = delete;

 private:
  void run();
  void write();

  base::FileSystem& files_;
  std::string path_;
  StatusBoard& board_;
  std::vector<int> ranks_;
  std::function<void()> each_time_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace lockstep::launcher
