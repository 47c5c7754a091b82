// SPDX-License-Identifier: Apache-2.0
#include "signals.hpp"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "exit_codes.hpp"

namespace lockbyfile::cli {

namespace {

const inherited_signals* before_the_gate = nullptr;

}  // namespace

signal_gate::signal_gate() {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  for (const int s : {SIGPIPE, SIGTTOU, SIGXFSZ}) ::sigaddset(&blocked, s);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  before_the_gate = &inherited_;
}

void signal_gate::take() {
  // If SIGCHLD was ignored when we were started, the status of the command would be lost.
  ::signal(SIGCHLD, SIG_DFL);

  ::sigemptyset(&taken_);
  ::sigaddset(&taken_, SIGCHLD);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    ::sigaddset(&taken_, s);
  }
  ::sigprocmask(SIG_BLOCK, &taken_, nullptr);
}

std::optional<received_signal> signal_gate::next(
    std::chrono::steady_clock::time_point until) const {
  using namespace std::chrono_literals;
  for (;;) {
    const auto left =
        std::clamp<std::chrono::nanoseconds>(until - std::chrono::steady_clock::now(), 0ns, 1h);
    const auto whole = std::chrono::floor<std::chrono::seconds>(left);
    timespec timeout{};
    timeout.tv_sec = whole.count();
    timeout.tv_nsec = static_cast<long>((left - whole).count());

    siginfo_t info{};
    const int number = ::sigtimedwait(&taken_, &info, &timeout);
    if (number < 0) return {};  // timed out or interrupted: the caller checks everything anyway
    if (is_ignored(number)) continue;  // the kernel kept it only because it was blocked
    if (info.si_code == SI_KERNEL) return received_signal{number, signal_origin::kernel, 0};
    return received_signal{number, signal_origin::process, info.si_pid};
  }
}

void open_the_gate() noexcept {
  if (before_the_gate != nullptr) before_the_gate->give_back();
}

void die_of(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  ::raise(signal);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::_exit(exit_killed + signal);
}

}  // namespace lockbyfile::cli
