// SPDX-License-Identifier: Apache-2.0
//
// process_tree: the command and everything it started, so that it can be ended whole.
//
// A signal to the command alone would let the children of `sh -c 'a; b'` run on
// without the lock. Neither does the process group tell who belongs to the command:
// it shares ours, so that the terminal is untouched. So we become a child subreaper
// (prctl): whoever loses its parent becomes our child, and all descendants stay
// descendants of ours. Who they are is read from /proc.
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

  /// Sends `signal` to every process of the tree. Returns the pids that may not be
  /// signalled because they belong to another user.
  std::vector<pid_t> signal_all(int signal) const;

  /// Whether no process of the tree is alive.
  [[nodiscard]] bool is_empty() const;

 private:
  [[nodiscard]] std::vector<pid_t> alive() const;

  std::vector<pid_t> strangers_;  // our children from before
};

}  // namespace lockbyfile::cli
