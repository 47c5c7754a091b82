// SPDX-License-Identifier: Apache-2.0
//
// Starts the command of `run`: in our process group and on our terminal, with our
// descriptors and with the signals blocked and ignored that we were started with.
#pragma once

#include <sys/types.h>

#include <string>
#include <system_error>
#include <vector>

#include "inherited_signals.hpp"

namespace lockbyfile::cli {

struct command_start {
  std::vector<std::string> arguments;          // the command first; searched in PATH
  std::vector<std::string> environment;        // NAME=VALUE; set on top of our own
  const inherited_signals* signals = nullptr;  // to give back

  /// A descriptor that the command is to share, under some high number; -1 for none.
  /// A copy of the lifeline, for one, keeps the lock while the command lives.
  int shared_descriptor = -1;

  /// Whether the kernel is to kill the command when the thread that starts it ends, however it
  /// does: for a lock that has no lifeline to share, and opens some time after our death. It
  /// does not reach the command's own children, nor a setuid program.
  bool dies_with_us = false;
};

/// Starts the command; one that is no program but a text without "#!" is run by sh, as shells
/// do. Sets the error of vfork(2) or of exec(3). Throws std::system_error if the descriptor cannot
/// be shared.
///
/// By vfork, not posix_spawn(3): the C library's asks for each of the 64 signals how it is
/// handled and sets it again, which takes a twentieth of all the time of `run NAME true`.
[[nodiscard]] pid_t spawn(const command_start& start, std::error_code& ec);

}  // namespace lockbyfile::cli
