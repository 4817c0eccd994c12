#include <csignal>

#include "base/environment.hpp"
#include "launcher/command_line.hpp"

int main(int argc, char** argv) {
  // A closed pipe is an error like any other: `lockstep runs | head` ends with its message.
  std::signal(SIGPIPE, SIG_IGN);
  return lockstep::launcher::run_command_line({argv + 1, argv + argc},
                                              lockstep::base::environment_variables());
}
