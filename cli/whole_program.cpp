// SPDX-License-Identifier: Apache-2.0
#include "whole_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <functional>
#include <system_error>

#include "exit_codes.hpp"
#include "loose_thread.hpp"
#include "print.hpp"
#include "say.hpp"
#include "witness.hpp"

namespace lockbyfile::cli {

namespace {

/// We may have been started with stderr closed. Without this, a lockfile might become descriptor 2,
/// and messages would go into it.
void occupy_closed_standard_descriptors() {
  std::array<pollfd, 3> standard{{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}};
  ::poll(standard.data(), standard.size(), 0);
  for (const pollfd& p : standard) {
    // open() takes the lowest free number, which is this one. The command finds it closed, as we
    // did.
    if ((p.revents & POLLNVAL) != 0) ::open("/dev/null", O_RDWR | O_CLOEXEC);
  }
}

int do_as_asked(const command_line& asked) {
  if (asked.act) return asked.act();
  if (!asked.help.empty()) {
    print(asked.help);
    return exit_ok;
  }
  say(asked.complaint);
  say(asked.hint);
  return exit_usage;
}

int exit_code_after(const std::function<int()>& act) {
  try {
    return act();
  } catch (const std::system_error& error) {  // lock_error among them
    say(error.what());
    return exit_code_of(error.code());
  } catch (const std::exception& error) {
    say(error.what());
    return exit_other;
  }
}

}  // namespace

int whole_program(int argc, char** argv, command_line (*read)(std::vector<std::string>)) {
  remember_arguments(argc, argv);
  occupy_closed_standard_descriptors();
  const int code = exit_code_after([&] {
    return do_as_asked(read({argv + std::min(argc, 1), argv + argc}));
  });
  finish_saying();
  // A loose thread that hangs may use objects that exit() destroys.
  if (!loose_threads_have_ended()) {
    std::fflush(stdout);
    ::_exit(code);
  }
  return code;
}

}  // namespace lockbyfile::cli
