// SPDX-License-Identifier: Apache-2.0
//
// process_tree: the command and every process that it started, so that the whole can be ended.
//
// A signal to the command alone would let the children of `sh -c 'a; b'` run on without the lock.
// The process group does not tell which processes belong to the command either: the command shares
// our group, so that the terminal is untouched. So we become a child subreaper (prctl). A process
// that loses its parent becomes our child, and all descendants stay descendants of ours.
//
// A signal must not reach a stranger that reuses a pid:
//   the command    It is our child, and nobody else reaps it. Until we reap it, its pid is its own,
//                  whatever /proc says.
//   our children   Likewise.
//   others         /proc shows their parents. It is read again when a pidfd holds the process: by
//                  then the pid cannot be another's. Before Linux 5.3 there are no pidfds, and a
//                  pid may be reused between the second look and the signal.
//
// A /proc of another pid namespace is not used (own_proc.hpp). There, or without any /proc, only
// our children are found: the kernel is asked for each pid whether it is our child. A grandchild
// becomes our child when its parent has ended, and gets its turn then.
//
// A process whose first thread has ended shows as a zombie but lives on. It counts as alive.
//
// A process may start others between the look and the signal. signal_all(SIGTERM) may miss those.
// For SIGKILL call it again until is_empty().
#pragma once

#include <sys/types.h>

#include <vector>

namespace lockbyfile::cli {

class process_tree {
 public:
  /// Makes this process a child subreaper. Processes that it has already started do not belong to
  /// the tree. (A shell may have started some before it exec'ed us.)
  process_tree();

  /// The first process of the tree, a child of ours.
  void set_command(pid_t pid) { command_ = pid; }
  /// A child of ours that does not belong to the tree, until it is reaped.
  void leave_out(pid_t pid);
  /// A child of ours was reaped: its pid may belong to another process now.
  void forget(pid_t pid);

  /// Sends `signal` to the command, if it lives.
  void signal_command(int signal) const;

  /// Sends `signal` to every process of the tree, the command first. Returns the pids that may not
  /// be signalled because they belong to another user.
  std::vector<pid_t> signal_all(int signal) const;

  /// Whether no process of the tree is alive.
  [[nodiscard]] bool is_empty() const;

 private:
  [[nodiscard]] std::vector<pid_t> alive() const;
  [[nodiscard]] std::vector<pid_t> living_children() const;

  pid_t command_ = -1;
  std::vector<pid_t> strangers_;
};

}  // namespace lockbyfile::cli
