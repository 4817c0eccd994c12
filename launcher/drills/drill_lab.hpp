#pragma once
// The folder in which drills are run with the real `lockstep`, one run a drill, every wait with a
// deadline. Used by `lockstep drill`. One thread; the process must have no threads, as it forks.

#include <chrono>
#include <map>
#include <string>

#include "base/stop_signal.hpp"
#include "launcher/drills/drill.hpp"
#include "launcher/drills/observation.hpp"

namespace lockstep::launcher {

struct DrillLabOptions {
  std::string lockstep;                            ///< path of the program under drill
  std::map<std::string, std::string> environment;  ///< of this process
  std::string parent;                              ///< where the folder is made
  std::chrono::seconds patience{120};              ///< for one launch
};

class DrillLab {
 public:
  /// Makes the folder with the configuration `drill.yaml`; the datasets `train.h5` and `nan.h5`
  /// are the caller's to put there. Throws IoError when the folder cannot be made.
  explicit DrillLab(DrillLabOptions options);
  /// Leaves the folder.
  ~DrillLab();
  DrillLab(const DrillLab&) = delete;
  DrillLab& operator=(const DrillLab&) = delete;

  const std::string& folder() const { return folder_; }
  /// What the launches of a drill said.
  std::string log_path(const Drill& drill) const;
  /// Throws Error with kInterrupted or kTerminated when this process is asked to stop meanwhile.
  Observation run(const Drill& drill);
  void remove();

 private:
  bool follow(const Drill& drill, const DrillLaunch& launch, Observation& observed);
  std::map<std::string, std::string> environment_for(const DrillLaunch& launch) const;
  void damage(const Drill& drill, const DrillLaunch& launch) const;
  std::string run_path(const Drill& drill) const;

  DrillLabOptions options_;
  std::string folder_;
  base::StopSignal stop_;
};

}  // namespace lockstep::launcher
