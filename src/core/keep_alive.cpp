// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <condition_variable>
#include <lockbyfile/keep_alive.hpp>
#include <mutex>

#include "core/failures.hpp"
#include "core/named_lock_impl.hpp"

namespace lockbyfile {

namespace {

constexpr std::chrono::nanoseconds watch_interval = std::chrono::milliseconds(100);

constexpr std::chrono::nanoseconds shortest_interval = std::chrono::microseconds(100);

/// A third of the lease leaves two tries before it ends.
std::chrono::nanoseconds interval(std::chrono::nanoseconds lease) {
  return lease == no_lease ? watch_interval : std::max(lease / 3, shortest_interval);
}

/// Whether a later renewal may succeed while the lease lasts, after one that failed like this.
bool may_pass(const std::error_code& ec) {
  return ec == errc::unreachable || ec.category() == std::system_category();
}

/// How long to wait before the next renewal, after the result of the last one.
std::chrono::nanoseconds next_renewal(const session& s, const std::error_code& last) {
  const auto regular = interval(s.lease());
  return last ? std::min(regular, watch_interval) : std::min(regular, s.certain_for());
}

}  // namespace

keep_alive::keep_alive(named_lock& lock, std::function<void(std::error_code)> on_lost) {
  const auto state = lock.impl_;
  const fencing_token token = state->keep_alive_from_now();
  if (!lock.is_held() || lock.token() != token) {
    told([&] {
      throw lock_error(errc::not_holder, "cannot keep " + lock.path() + " alive", lock.path());
    });
  }

  struct ending {
    named_lock::impl& by;
    turns::subscription which;
    ~ending() { by.unsubscribe(which); }
  };
  thread_ = std::jthread([state, token, on_lost = std::move(on_lost)](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any changed;
    bool is_told = false;
    const auto subscribed = state->subscribe([&] {
      const std::lock_guard guard(mutex);
      is_told = true;
      changed.notify_all();
    });
    const ending here{*state, subscribed};
    std::error_code ec;
    do {
      const std::chrono::nanoseconds next = next_renewal(*state->session, ec);
      {
        std::unique_lock guard(mutex);
        changed.wait_for(guard, stop, next, [&] { return is_told; });
      }
      if (stop.stop_requested()) return;
      state->renew_for(token, ec);
      if (ec == errc::not_holder) return;  // released
      // Servers that do not answer now may do so in time, and a full disk may have room.
    } while (!ec || (may_pass(ec) && state->session->is_held()));
    if (!on_lost) return;
    remember(failure_of(*state->session, ec, "cannot keep alive"));
    on_lost(ec);
  });
}

keep_alive::~keep_alive() { stop(); }

void keep_alive::stop() noexcept {
  const uncancelled us;
  thread_.request_stop();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

}  // namespace lockbyfile
