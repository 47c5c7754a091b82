// SPDX-License-Identifier: Apache-2.0
//
// signal_gate: signals as messages.
//
// From take() on, the signals that `run` passes on to its command (SIGINT, SIGTERM, SIGHUP,
// SIGQUIT, SIGUSR1, SIGUSR2) and SIGCHLD are blocked, and taken by next() one at a time. There
// are no handlers: nothing runs between two instructions, and the command inherits no disposition
// but those we were started with. A signal that was ignored at the start (nohup) stays ignored: it
// is taken and dropped.
//
// They stay blocked until we exit: a signal that comes when the command has just ended
// must not take its exit code away. SIGPIPE, SIGTTOU and SIGXFSZ are blocked from the construction
// on: neither a message that nobody can read nor a limit on the size of files may end or stop us.
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

  /// Must be called before there are threads.
  void take();

  /// Waits for the next signal, until `until` at the latest.
  [[nodiscard]] std::optional<received_signal> next(
      std::chrono::steady_clock::time_point until) const;

  /// From before the gate, for the command.
  [[nodiscard]] const inherited_signals& inherited() const noexcept { return inherited_; }

 private:
  const inherited_signals inherited_;
  sigset_t taken_{};
};

/// Gives back the signals from before the gate, if there is one: for a program that replaces itself
/// by another.
void open_the_gate() noexcept;

/// Ends this process by `signal`, as if it had never been taken. The first process of a pid
/// namespace, which no signal ends, exits with 128 + `signal`.
[[noreturn]] void die_of(int signal);

}  // namespace lockbyfile::cli
