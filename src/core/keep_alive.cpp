// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <condition_variable>
#include <lockbyfile/keep_alive.hpp>
#include <mutex>

#include "core/named_lock_impl.hpp"

namespace lockbyfile {

namespace {

constexpr std::chrono::nanoseconds watch_interval = std::chrono::milliseconds(100);

constexpr std::chrono::nanoseconds shortest_interval = std::chrono::microseconds(100);

/// A third of the lease leaves two tries before it ends.
std::chrono::nanoseconds interval(std::chrono::nanoseconds lease) {
  return lease == no_lease ? watch_interval : std::max(lease / 3, shortest_interval);
}

}  // namespace

keep_alive::keep_alive(named_lock& lock, std::function<void(std::error_code)> on_lost) {
  if (!lock.is_held()) {
    throw lock_error(errc::not_holder, "cannot keep " + lock.path() + " alive", lock.path());
  }
  const auto state = lock.impl_;
  const std::uint64_t number = state->keep_alive_from_now();

  thread_ =
      std::jthread([state, number, on_lost = std::move(on_lost)](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock guard(mutex);
        for (;;) {
          stopped.wait_for(guard, stop, interval(state->session->lease()), [] { return false; });
          if (stop.stop_requested()) return;
          std::error_code ec;
          state->renew_for(number, ec);
          if (ec == errc::not_holder) return;  // released
          if (ec) {
            if (on_lost) on_lost(ec);
            return;
          }
        }
      });
}

keep_alive::~keep_alive() { stop(); }

void keep_alive::stop() noexcept {
  thread_.request_stop();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

}  // namespace lockbyfile
