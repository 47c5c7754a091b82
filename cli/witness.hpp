// SPDX-License-Identifier: Apache-2.0
//
// witness: finds out whether a signal was sent to our whole process group, or to us alone.
//
// The command is in our group, since the terminal and the shell must see one job. A signal to the
// group (kill -INT -- -PGID, a shell's `kill %1`) reaches the command without us. A signal to our
// pid does not, and siginfo_t is the same for both. Passing neither loses signals, and passing both
// gives the command two.
//
// The difference is whether other processes of the group have received the signal, too. The command
// cannot be asked, because it may already have handled the signal. So the group has one more
// process, the witness. It does nothing and has our signals blocked, so a signal to the group is
// pending there.
//
// The witness receives a signal before we do: the kernel goes through a group from its youngest
// member to its oldest. It is a child of fork(2) without descriptors. Its name and its arguments
// are "signal-witness", so that a signal by name (pkill lockbyfile) goes to us alone. It dies with
// us.
//
// Without a /proc of our own pid namespace nobody can say what is pending. Then a signal counts as
// sent to us alone.
#pragma once

#include <sys/types.h>

namespace lockbyfile::cli {

class witness {
 public:
  witness() = default;
  ~witness() { end(); }
  witness(const witness&) = delete;
  witness& operator=(const witness&) = delete;

  /// The signals of interest must be blocked.
  void begin();
  /// Kills the witness. We reap it when convenient, or else our parent does.
  void end();

  /// Whether `signal` was sent to the witness, too. Forgets all signals that it has received.
  [[nodiscard]] bool has_got(int signal);

  /// Forgets the signals that the witness has received, except those still on their way to us.
  void forget();

  /// -1 if there is no witness. has_got() and forget() change it.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// It was reaped.
  void is_gone() noexcept { pid_ = -1; }

 private:
  pid_t pid_ = -1;
};

/// Remembers the memory of this process's arguments, which ps(1) shows.
void remember_arguments(int count, char** arguments) noexcept;

}  // namespace lockbyfile::cli
