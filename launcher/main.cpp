#include <csignal>

#include "base/environment.hpp"
#include "launcher/command_line.hpp"

int main(int argc, char** argv) {
  // Whoever reads the output may stop, as in `lockstep runs | head`; the command goes on.
  std::signal(SIGPIPE, SIG_IGN);
  return lockstep::launcher::run_command_line({argv + 1, argv + argc},
                                              lockstep::base::environment_variables());
}
