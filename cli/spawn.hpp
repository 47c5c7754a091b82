// SPDX-License-Identifier: Apache-2.0
//
// Starts the command of `run`: in our process group and on our terminal, with our
// descriptors and with the signal mask that we were started with.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <system_error>
#include <vector>

namespace lockbyfile::cli {

struct command_start {
  std::vector<std::string> arguments;    // the command first; searched in PATH
  std::vector<std::string> environment;  // NAME=VALUE; set on top of our own
  sigset_t signal_mask{};

  /// A descriptor that the command is to share, under some high number; -1 for none.
  /// A copy of the lifeline, for one, keeps the lock while the command lives.
  int shared_descriptor = -1;
};

/// Starts the command. Sets the error of posix_spawn(3) or exec(3) if that fails. Throws
/// std::system_error if the descriptor cannot be shared.
[[nodiscard]] pid_t spawn(const command_start& start, std::error_code& ec);

}  // namespace lockbyfile::cli
