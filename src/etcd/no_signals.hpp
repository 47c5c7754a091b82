// SPDX-License-Identifier: Apache-2.0
//
// The RPC library starts threads of its own at any time. They must not take the signals that are
// meant for the program: `lockbyfile run` waits for its own, and a handler of the user's may expect
// its own thread. A thread begins with the signal mask of the thread that starts it.
#pragma once

#include <signal.h>

namespace lockbyfile::etcd {

class no_signals {
 public:
  no_signals() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~no_signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  no_signals(const no_signals&) = delete;
  no_signals& operator=(const no_signals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace lockbyfile::etcd
