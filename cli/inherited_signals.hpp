// SPDX-License-Identifier: Apache-2.0
//
// inherited_signals: the signals that our caller had blocked or ignored. exec(3) passes both to the
// new program. A program that we become or start must find them as we found them.
#pragma once

#include <signal.h>

namespace lockbyfile::cli {

/// Whether this process ignores `signal` now.
[[nodiscard]] bool is_ignored(int signal) noexcept;

class inherited_signals {
 public:
  /// Records the current state. Must be constructed before anything changes it.
  inherited_signals() noexcept;

  /// Restores the recorded state, right before exec(3). May run in a child of vfork(2).
  void give_back() const noexcept;

 private:
  sigset_t mask_{};
  bool ignores_bus_;
  bool ignores_children_;
};

}  // namespace lockbyfile::cli
