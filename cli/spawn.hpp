// SPDX-License-Identifier: Apache-2.0
//
// Starts the command of `run` in our process group, on our terminal and with our descriptors. The
// command finds signals blocked and ignored as we found them at our start.
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

  /// A descriptor that the command shares, under some high number; -1 for none. For example, a copy
  /// of the lifeline keeps the lock held while the command lives.
  int shared_descriptor = -1;

  /// Whether the kernel kills the command when the thread that starts it ends in any way. This is
  /// for a lock that has no lifeline to share, and opens some time after our death. The kill
  /// reaches neither the command's own children nor a setuid program.
  bool dies_with_us = false;
};

/// Starts the command. If it is a text without "#!" instead of a program, sh runs it, as in shells.
/// Sets the error of vfork(2) or of exec(3). Throws std::system_error if the descriptor cannot be
/// shared.
///
/// It uses vfork, not posix_spawn(3). The C library's posix_spawn reads and sets again the handling
/// of each of the 64 signals. That takes a twentieth of all the time of `run NAME true`.
[[nodiscard]] pid_t spawn(const command_start& start, std::error_code& ec);

}  // namespace lockbyfile::cli
