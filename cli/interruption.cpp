// SPDX-License-Identifier: Apache-2.0
#include "interruption.hpp"

#include <pthread.h>

#include <system_error>

#include "from_now.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

namespace {

constexpr std::chrono::seconds to_leave{1};

}  // namespace

void interruption::watch() {
  if (watcher_) return;
  try {
    watcher_.emplace([this] { take_signals(); });
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(), "cannot start a thread for signals while waiting");
  }
}

void interruption::stop_watching() {
  if (!watcher_) return;
  is_over_ = true;
  ::pthread_kill(watcher_->native_handle(), SIGCHLD);  // it takes that, too
  watcher_->join();
  watcher_.reset();
  is_over_ = false;
}

void interruption::take_signals() {
  auto until = std::chrono::steady_clock::time_point::max();
  while (!is_over_) {
    const auto signal = gate_.next(until);
    if (has_come() && !is_over_ && std::chrono::steady_clock::now() >= until) die_of(signal_);
    if (!signal || signal->number == SIGCHLD) continue;
    if (has_come() || !spares_us_) die_of(signal->number);
    note(signal->number);
    until = from_now(to_leave);
    stop_.request_stop();
  }
}

void interruption::look() {
  while (const auto signal = gate_.next(std::chrono::steady_clock::now())) {
    if (signal->number != SIGCHLD) return note(signal->number);
  }
}

void interruption::die_if_it_has_come() const {
  if (!has_come()) return;
  finish_saying();
  die_of(signal_);
}

}  // namespace lockbyfile::cli
