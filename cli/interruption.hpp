// SPDX-License-Identifier: Apache-2.0
//
// interruption: a signal that comes before the command has been started.
//
// While we have a place in a wait queue, the signal must not end us at once. A server would keep
// that place for its TTL, and the waiters behind us would wait for a dead process. So we stop the
// wait, give up the place, close the lock, and then die of that same signal. A second signal ends
// us at once. If one second has not been enough for this, we end at once, too.
#pragma once

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

#include "signals.hpp"

namespace lockbyfile::cli {

class interruption {
 public:
  explicit interruption(const signal_gate& gate) : gate_(gate) {}
  ~interruption() { stop_watching(); }
  interruption(const interruption&) = delete;
  interruption& operator=(const interruption&) = delete;

  /// From now on a thread takes the signals from the gate. A signal ends us.
  void watch();
  /// From now on there may be a place to give up: a signal requests a stop on stop_token().
  void spare_us() noexcept { spares_us_ = true; }
  /// Leaves the signals in the gate again.
  void stop_watching();

  /// Checks whether a signal is pending in the gate.
  void look();

  /// Sets the signal that ends us when all is done.
  void note(int signal) noexcept { signal_ = signal; }

  [[nodiscard]] bool has_come() const noexcept { return signal_ != 0; }
  [[nodiscard]] std::stop_token stop_token() const { return stop_.get_token(); }

  /// Dies of the signal, if one has arrived.
  void die_if_it_has_come() const;

 private:
  void take_signals();

  const signal_gate& gate_;
  std::stop_source stop_;
  std::atomic<int> signal_{0};
  std::atomic<bool> is_over_{false};
  std::atomic<bool> spares_us_{false};
  std::optional<std::thread> watcher_;
};

}  // namespace lockbyfile::cli
