// SPDX-License-Identifier: Apache-2.0
//
// witness: tells whether a signal was sent to our whole process group, or to us alone.
//
// The command is in our group, since the terminal and the shell must see one job. A signal to the
// group (kill -INT -- -PGID, a shell's `kill %1`) reaches it without us, one to our pid does not;
// and siginfo_t is the same for both. Passing on neither loses signals; passing on both gives the
// command two. What tells them apart is whether others in the group have got it as well. The
// command cannot be asked: it may have handled it already. So there is one more process in the
// group, which does nothing and has our signals blocked: what was sent to the group is pending
// there.
//
// It gets a signal before we do: the kernel goes through a group from its youngest member to its
// oldest. It is a child of fork(2) without descriptors, called "signal-witness" in its name and
// its arguments, so that a signal by name (pkill lockbyfile) goes to us alone. It dies with us.
//
// Without a /proc of our own pid namespace nobody can say what is pending: then a signal counts as
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

  /// The signals that are of interest must be blocked.
  void begin();
  /// Kills it. Our parent, or we when it comes handy, reap it.
  void end();

  /// Whether `signal` was sent to it, too. Forgets all that it has got.
  [[nodiscard]] bool has_got(int signal);

  /// Forgets what it has got, except what is on its way to us, too.
  void forget();

  /// -1 if there is none. Another one after has_got() and forget().
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// It was reaped.
  void is_gone() noexcept { pid_ = -1; }

 private:
  pid_t pid_ = -1;
};

/// The memory in which this process's arguments are: what ps(1) shows.
void remember_arguments(int count, char** arguments) noexcept;

}  // namespace lockbyfile::cli
