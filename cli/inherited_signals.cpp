// SPDX-License-Identifier: Apache-2.0
#include "inherited_signals.hpp"

namespace lockbyfile::cli {

bool is_ignored(int signal) noexcept {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

inherited_signals::inherited_signals() noexcept
    : ignores_bus_(is_ignored(SIGBUS)), ignores_children_(is_ignored(SIGCHLD)) {
  ::sigprocmask(SIG_BLOCK, nullptr, &mask_);
}

void inherited_signals::give_back() const noexcept {
  // A child of vfork shares our memory, so a handler of ours must not run in it.
  ::signal(SIGBUS, ignores_bus_ ? SIG_IGN : SIG_DFL);
  if (ignores_children_) ::signal(SIGCHLD, SIG_IGN);
  ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

}  // namespace lockbyfile::cli
