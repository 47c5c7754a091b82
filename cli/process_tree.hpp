// SPDX-License-Identifier: Apache-2.0
//
// process_tree: the command and everything it started, so that it can be ended whole.
//
// A signal to the command alone would let the children of `sh -c 'a; b'` run on
// without the lock. Neither does the process group tell who belongs to the command:
// it shares ours, so that the terminal is untouched. So we become a child subreaper
// (prctl): a process that loses its parent becomes our child, and all descendants stay
// descendants of ours.
//
// Which process gets a signal is known, not read:
//   the command    our child, which nobody else reaps: until we have, its pid is its own,
//                  whatever /proc says
//   our children   likewise
//   others         /proc tells who their parents are. It is read once more when a pidfd holds the
//                  process, so that its pid cannot be another's by then; before Linux 5.3 there
//                  are no pidfds, and a pid may be reused between the second look and the signal.
//
// A /proc of another pid namespace is not used (own_proc.hpp). There, or without any, only our
// children are found, by asking the kernel for each pid whether it is one. Their own children
// become ours when they have ended, and have their turn then.
//
// A process whose first thread has ended shows as a zombie and lives on: it counts.
//
// A process may start others between the look and the signal. signal_all(SIGTERM)
// may miss those; for SIGKILL call it again until is_empty().
#pragma once

#include <sys/types.h>

#include <vector>

namespace lockbyfile::cli {

class process_tree {
 public:
  /// Makes this process a child subreaper. What it has started already (a shell may
  /// have done so and then have exec'ed us) does not belong to the tree.
  process_tree();

  /// The first process of the tree, a child of ours.
  void set_command(pid_t pid) { command_ = pid; }
  /// A child of ours that does not belong to the tree, until it is reaped.
  void leave_out(pid_t pid);
  /// A child of ours was reaped: its pid may be another's now.
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
