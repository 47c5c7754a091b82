// SPDX-License-Identifier: Apache-2.0
//
// signal_gate: signals as messages.
//
// From its construction on, the signals that `run` passes on to its command (SIGINT,
// SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2) and SIGCHLD are blocked, and taken by
// next() one at a time. There are no handlers: nothing runs between two instructions,
// and the command inherits no disposition but those we were started with, so that
// what nohup ignores stays ignored.
//
// They stay blocked until we exit: a signal that comes when the command has just ended
// must not take its exit code away. SIGPIPE and SIGTTOU are blocked too: a message that
// nobody can read must neither end nor stop us while we look after the command.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <optional>

namespace lockbyfile::cli {

/// Who sent a signal.
enum class signal_origin {
  process,  // kill(2) and the like
  kernel,   // for one, the terminal: it has told the whole foreground group
};

struct received_signal {
  int number;
  signal_origin origin;
  pid_t sender;  // 0 if the kernel sent it
};

class signal_gate {
 public:
  signal_gate();

  /// Waits for the next signal, until `until` at the latest.
  [[nodiscard]] std::optional<received_signal> next(
      std::chrono::steady_clock::time_point until) const;

  /// The signal mask from before, which the command is to have.
  [[nodiscard]] const sigset_t& outer_mask() const noexcept { return outer_mask_; }

 private:
  sigset_t taken_{};
  sigset_t outer_mask_{};
};

}  // namespace lockbyfile::cli
