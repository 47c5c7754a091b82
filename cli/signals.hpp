// SPDX-License-Identifier: Apache-2.0
//
// signal_gate: signals as messages.
//
// From take() on, SIGCHLD and the signals that `run` passes to its command are blocked: SIGINT,
// SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2. next() takes them one at a time. There are no
// handlers, so nothing runs between two instructions, and the command inherits only the
// dispositions that we were started with. A signal that was ignored at the start (nohup) stays
// ignored: it is taken and dropped.
//
// The signals stay blocked until we exit. Otherwise a signal that arrives when the command has just
// ended would replace the command's exit code. SIGPIPE, SIGTTOU and SIGXFSZ are blocked from the
// construction on. A message that nobody can read, or a limit on the size of files, must neither
// end nor stop us.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <optional>

#include "inherited_signals.hpp"

namespace lockbyfile::cli {

/// Who sent a signal.
enum class signal_origin {
  process,  // kill(2) and the like
  kernel,   // for example the terminal, which signals the whole foreground group
};

struct received_signal {
  int number;
  signal_origin origin;
  pid_t sender;  // 0 if the kernel sent it
};

class signal_gate {
 public:
  signal_gate();

  /// Must be called before there are threads.
  void take();

  /// Waits for the next signal, until `until` at the latest.
  [[nodiscard]] std::optional<received_signal> next(
      std::chrono::steady_clock::time_point until) const;

  /// The signals from before the gate, for the command.
  [[nodiscard]] const inherited_signals& inherited() const noexcept { return inherited_; }

 private:
  const inherited_signals inherited_;
  sigset_t taken_{};
};

/// Restores the signals from before the gate, if there is a gate. For a program that replaces
/// itself by another.
void open_the_gate() noexcept;

/// Ends this process by `signal`, as if it had never been taken. No signal ends the first process
/// of a pid namespace: that process exits with 128 + `signal`.
[[noreturn]] void die_of(int signal);

}  // namespace lockbyfile::cli
