#pragma once
// What a launch ends with on the terminal: the card of a run that is done or stopped, and the
// table of one that failed, root cause first. Pure functions, any thread.

#include <chrono>
#include <string>

#include "checkpoints/run_directory.hpp"
#include "launcher/terminal.hpp"
#include "launcher/verdict.hpp"

namespace lockstep::launcher {

/// What people type to name the run: its name where it lies in `runs`, else its path.
std::string reference_to(const std::string& run_path);

/// Of a run that is done or was stopped by its user.
std::string end_card(const Style& style, const checkpoints::RunRecord& record,
                     const std::string& run_path, std::chrono::nanoseconds wall);

struct FailureReport {
  Verdict verdict;
  int exit_code = 1;
  std::string run_path;  ///< empty when there is none
  std::string log_path;  ///< of the rank that failed, empty when it is not known
};
std::string failure_table(const Style& style, const FailureReport& report);

/// `rank 3 on host n2: 12% more work time than the others`; empty when no rank stands out.
std::string straggler_text(const checkpoints::StepAnatomy& anatomy);

/// `0.912`, `1.23e-05`: four significant digits.
std::string format_metric(double value);

}  // namespace lockstep::launcher
