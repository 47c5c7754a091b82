// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile VERB ...: the command. What the arguments ask for is done here, and what is
// thrown ends here, as an exit code.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "command_line.hpp"
#include "exit_codes.hpp"
#include "print.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

namespace {

/// Without this, a lockfile might become descriptor 2 if we were started with stderr
/// closed, and messages would go into it.
void occupy_closed_standard_descriptors() {
  std::array<pollfd, 3> standard{{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}};
  ::poll(standard.data(), standard.size(), 0);
  for (const pollfd& p : standard) {
    // The lowest free number is this one. The command finds it closed, as we did.
    if ((p.revents & POLLNVAL) != 0) ::open("/dev/null", O_RDWR | O_CLOEXEC);
  }
}

int lockbyfile_main(std::vector<std::string> arguments) {
  const command_line asked = read_command_line(std::move(arguments));
  if (asked.act) return asked.act();
  if (!asked.help.empty()) {
    print(asked.help);
    return exit_ok;
  }
  say(asked.complaint);
  say(asked.hint);
  return exit_usage;
}

}  // namespace

}  // namespace lockbyfile::cli

int main(int argc, char** argv) {
  using namespace lockbyfile;
  cli::occupy_closed_standard_descriptors();
  try {
    return cli::lockbyfile_main({argv + std::min(argc, 1), argv + argc});
  } catch (const std::system_error& error) {  // lock_error among them
    cli::say(error.what());
    return cli::exit_code_of(error.code());
  } catch (const std::exception& error) {
    cli::say(error.what());
    return cli::exit_other;
  }
}
