// SPDX-License-Identifier: Apache-2.0
//
// What a named_lock and the keep_alive that renews it share.
//
// A session belongs to one thread at a time. Once a keep_alive has been made, a second
// one renews, and both are serialised here; until then the mutex is not touched.
// An acquisition may wait for long and so is not made under the mutex. It ends the
// grant before it (`grant_number`), after which a keep_alive of that grant keeps off.
//
// fork: the renewing thread is not in the child, but may have held the mutex. The child
// leaves that mutex alone, and makes one of its own when it acquires.
#pragma once

#include <atomic>
#include <cstdint>
#include <lockbyfile/named_lock.hpp>
#include <memory>
#include <mutex>

#include "core/engine.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile {

class named_lock::impl {
 public:
  impl(std::unique_ptr<lockbyfile::session> s, std::chrono::nanoseconds p)
      : session(std::move(s)), patience(p) {}

  std::optional<grant> acquire(std::chrono::nanoseconds p, const std::stop_token& stop,
                               std::error_code& ec) {
    end_grant();
    const bool waits_for_long = p == forever;  // then the clock need not be read
    const instant deadline = p <= std::chrono::nanoseconds(0) ? 0
                             : waits_for_long                 ? never
                                                              : after(now(), p);
    return session->acquire(deadline, stop, ec);
  }
  void renew(std::error_code& ec) noexcept {
    const auto guard = alone();
    session->renew(ec);
  }
  void renew_for(std::uint64_t number, std::error_code& ec) noexcept {
    const std::lock_guard guard(*mutex_);
    if (number != grant_number_) {
      ec = errc::not_holder;
    } else {
      session->renew(ec);
    }
  }
  void release(std::error_code& ec) noexcept {
    const auto guard = alone();
    session->release(ec);
  }

  /// For renew_for, by the thread that holds the lock.
  std::uint64_t keep_alive_from_now() noexcept {
    is_kept_alive_.store(true, std::memory_order_release);
    const std::lock_guard guard(*mutex_);
    return grant_number_;
  }

  const std::unique_ptr<lockbyfile::session> session;
  const std::chrono::nanoseconds patience;

 private:
  void end_grant() {
    if (epoch_ != process_epoch()) {
      (void)mutex_.release();  // NOLINT(bugprone-unused-return-value): it may be locked for ever
      mutex_ = std::make_unique<std::mutex>();
      is_kept_alive_.store(false, std::memory_order_relaxed);
      epoch_ = process_epoch();
    }
    if (const auto guard = alone()) ++grant_number_;
  }
  std::unique_lock<std::mutex> alone() noexcept {
    if (!is_kept_alive_.load(std::memory_order_acquire) || epoch_ != process_epoch()) return {};
    return std::unique_lock(*mutex_);
  }

  std::atomic<bool> is_kept_alive_{false};
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  std::uint64_t epoch_ = process_epoch();
  std::uint64_t grant_number_ = 0;
};

}  // namespace lockbyfile
