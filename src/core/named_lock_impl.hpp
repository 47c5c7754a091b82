// SPDX-License-Identifier: Apache-2.0
//
// What a named_lock and the keep_alive that renews it share.
//
// A session belongs to one thread at a time. Once a keep_alive has been made, a second
// one renews, and both are serialised by the keeper; until then there is none.
// An acquisition may wait for long and so is not made under its mutex. It ends the
// grant before it (`grant_number`), after which a keep_alive of that grant keeps off.
//
// fork: the renewing thread is not in the child, but may have held the mutex. A keeper
// belongs to the process that made it, and is not touched in another.
#pragma once

#include <atomic>
#include <cstdint>
#include <lockbyfile/named_lock.hpp>
#include <mutex>

#include "core/engine.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile {

class named_lock::impl {
 public:
  impl(std::unique_ptr<lockbyfile::session> s, std::chrono::nanoseconds p)
      : session(std::move(s)), patience(p) {}
  ~impl() { delete mine(); }  // another process's may be locked for ever
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  std::optional<grant> acquire(std::chrono::nanoseconds p, const std::stop_token& stop,
                               std::error_code& ec) {
    if (keeper* const k = mine()) {
      const std::lock_guard guard(k->mutex);
      if (session->is_held()) {
        ec = errc::would_deadlock;
        return std::nullopt;
      }
      ++k->grant_number;
    }
    const bool waits_for_ever = p == forever;  // then the clock need not be read
    const bool tries_once = p <= std::chrono::nanoseconds(0);
    const instant deadline = tries_once ? 0 : waits_for_ever ? never : after(now(), p);
    return session->acquire(deadline, stop, ec);
  }
  /// True with the lock held; false, and acquire has to be asked.
  bool acquire_at_once() noexcept { return has_no_keeper() && session->acquire_at_once(); }
  void release_quietly() noexcept {
    if (has_no_keeper()) return session->release_quietly();
    const auto guard = alone();
    session->release_quietly();
  }
  void renew(std::error_code& ec) noexcept {
    const auto guard = alone();
    session->renew(ec);
  }
  void renew_for(std::uint64_t number, std::error_code& ec) noexcept {
    keeper* const k = mine();
    const std::lock_guard guard(k->mutex);
    if (number != k->grant_number) {
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
  std::uint64_t keep_alive_from_now() {
    if (mine() == nullptr) keeper_.store(new keeper, std::memory_order_release);
    const auto guard = alone();
    return mine()->grant_number;
  }

  const std::unique_ptr<lockbyfile::session> session;
  const std::chrono::nanoseconds patience;

 private:
  struct keeper {
    const std::uint64_t process = process_epoch();
    std::mutex mutex;
    std::uint64_t grant_number = 0;
  };

  [[nodiscard]] bool has_no_keeper() const noexcept {
    return keeper_.load(std::memory_order_relaxed) == nullptr;
  }
  [[nodiscard]] keeper* mine() const noexcept {
    keeper* const k = keeper_.load(std::memory_order_acquire);
    return k != nullptr && k->process == process_epoch() ? k : nullptr;
  }
  [[nodiscard]] std::unique_lock<std::mutex> alone() const noexcept {
    keeper* const k = mine();
    return k == nullptr ? std::unique_lock<std::mutex>() : std::unique_lock(k->mutex);
  }

  std::atomic<keeper*> keeper_{nullptr};
};

}  // namespace lockbyfile
