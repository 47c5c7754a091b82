// SPDX-License-Identifier: Apache-2.0
//
// inherited_signals: how our caller had signals blocked and ignored. exec(3) passes both on, so a
// program that we become or start must find them as we did, and not as we use them.
#pragma once

#include <signal.h>

namespace lockbyfile::cli {

/// Now, by this process.
[[nodiscard]] bool is_ignored(int signal) noexcept;

class inherited_signals {
 public:
  /// As they are now: to be made before anything changes them.
  inherited_signals() noexcept;

  /// Right before exec(3); also in a child of vfork(2).
  void give_back() const noexcept;

 private:
  sigset_t mask_{};
  bool ignores_bus_;
  bool ignores_children_;
};

}  // namespace lockbyfile::cli
