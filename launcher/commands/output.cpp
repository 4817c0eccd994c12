#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.hpp"
#include "launcher/commands/command.hpp"

namespace lockstep::launcher {

void print(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    if (errno == EPIPE) return;  // a reader such as `head` has seen enough
    throw base::IoError(std::string("standard output cannot be written (") + std::strerror(errno) +
                            "); check where it leads",
                        errno);
  }
}

void print_message(const Style& style, std::string_view text) {
  std::string line = style.terminal ? "\r\x1b[K" : "";
  line += text;
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace lockstep::launcher
