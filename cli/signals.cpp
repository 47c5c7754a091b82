// SPDX-License-Identifier: Apache-2.0
#include "signals.hpp"

#include <algorithm>
#include <ctime>

namespace lockbyfile::cli {

signal_gate::signal_gate() {
  // If SIGCHLD was ignored when we were started, the status of the command would be lost.
  ::signal(SIGCHLD, SIG_DFL);

  ::sigemptyset(&taken_);
  for (const int s : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    ::sigaddset(&taken_, s);
  }
  sigset_t blocked = taken_;
  ::sigaddset(&blocked, SIGPIPE);
  ::sigaddset(&blocked, SIGTTOU);
  ::sigprocmask(SIG_BLOCK, &blocked, &outer_mask_);
}

std::optional<received_signal> signal_gate::next(
    std::chrono::steady_clock::time_point until) const {
  using namespace std::chrono_literals;
  const auto left =
      std::clamp<std::chrono::nanoseconds>(until - std::chrono::steady_clock::now(), 0ns, 1h);
  const auto whole = std::chrono::floor<std::chrono::seconds>(left);
  timespec timeout{};
  timeout.tv_sec = whole.count();
  timeout.tv_nsec = static_cast<long>((left - whole).count());

  siginfo_t info{};
  const int number = ::sigtimedwait(&taken_, &info, &timeout);
  if (number < 0) return {};  // time is up, or interrupted: the caller looks around either way
  if (info.si_code == SI_KERNEL) return received_signal{number, signal_origin::kernel, 0};
  return received_signal{number, signal_origin::process, info.si_pid};
}

}  // namespace lockbyfile::cli
