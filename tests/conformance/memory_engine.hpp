// SPDX-License-Identifier: Apache-2.0
//
// The engine contract in its simplest form: one lock in memory, under a mutex, on a clock
// that the test moves. It shows what the contract asks for without files and processes,
// and keeps the conformance suite from asking for more.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>

#include "core/engine.hpp"

class memory_session;

/// The lock, its line and its clock. Everything is under `mutex`.
struct memory_lock {
  std::mutex mutex;
  std::condition_variable_any changed;
  lockbyfile::instant now = 1;

  std::uint64_t counter = 0;
  memory_session* holder = nullptr;  // null: free, or the holder's session has ended
  std::uint64_t held_under = 0;      // token; 0: free
  lockbyfile::instant deadline = 0;
  lockbyfile::party who;
  std::deque<memory_session*> line;

  [[nodiscard]] bool is_open() const {
    return held_under == 0 || holder == nullptr || now >= deadline;
  }
  void pass(std::chrono::nanoseconds d) {
    const std::lock_guard guard(mutex);
    now = lockbyfile::after(now, d);
    changed.notify_all();
  }
};

class memory_session final : public lockbyfile::session {
 public:
  memory_session(memory_lock& lock, const lockbyfile::lock_options& options, unsigned id)
      : lock_(lock), lease_(options.lease), who_{id, 0, options.description} {}
  ~memory_session() override {
    std::error_code ignored;
    release(lockbyfile::fencing_token(token_), ignored);
  }

  /// As if its process had been killed.
  void die() {
    const std::lock_guard guard(lock_.mutex);
    is_dead_ = true;
    if (lock_.holder == this) lock_.holder = nullptr;
    lock_.changed.notify_all();
  }

  std::optional<lockbyfile::grant> acquire(lockbyfile::instant deadline,
                                           const std::stop_token& stop,
                                           std::error_code& ec) override {
    std::unique_lock guard(lock_.mutex);
    ec.clear();
    const bool is_in_line = std::ranges::find(lock_.line, this) != lock_.line.end();
    if (is_in_line || holds_in_time()) {
      ec = lockbyfile::errc::would_deadlock;
      return std::nullopt;
    }
    const lockbyfile::instant begun = lock_.now;
    lockbyfile::grant result;
    result.place = static_cast<std::uint32_t>(lock_.line.size());
    lock_.line.push_back(this);
    const auto is_our_turn = [&] { return lock_.line.front() == this && lock_.is_open(); };
    lock_.changed.wait(guard, stop,
                       [&] { return is_dead_ || is_our_turn() || lock_.now >= deadline; });
    const bool is_granted = !is_dead_ && is_our_turn();
    std::erase(lock_.line, this);
    lock_.changed.notify_all();
    if (!is_granted) {
      ec = lock_.now >= deadline ? lockbyfile::errc::timed_out : lockbyfile::errc::cancelled;
      return std::nullopt;
    }
    take(result);
    result.waited = lockbyfile::between(begun, lock_.now);
    return result;
  }

  void renew(lockbyfile::fencing_token of, std::error_code& ec) override {
    const std::lock_guard guard(lock_.mutex);
    ec = says_about_our_grant(of);
    if (!ec) lock_.deadline = lockbyfile::after(lock_.now, lease_);
    lock_.changed.notify_all();
  }

  void release(lockbyfile::fencing_token of, std::error_code& ec) noexcept override {
    const std::lock_guard guard(lock_.mutex);
    ec = says_about_our_grant(of);
    if (held_under_ == of.value()) held_under_ = 0;
    if (ec) return;
    if (lock_.now >= lock_.deadline) ec = lockbyfile::errc::lease_lost;
    lock_.held_under = 0;
    lock_.holder = nullptr;
    lock_.changed.notify_all();
  }

  void set_lease(std::chrono::nanoseconds lease) noexcept override { lease_ = lease; }
  [[nodiscard]] std::chrono::nanoseconds lease() const noexcept override { return lease_; }
  [[nodiscard]] std::chrono::nanoseconds lease_remaining() const noexcept override {
    const std::lock_guard guard(lock_.mutex);
    if (held_under_ == 0 || lock_.held_under != held_under_) return {};
    return lockbyfile::between(lock_.now, lock_.deadline);
  }
  [[nodiscard]] bool is_held() const noexcept override {
    const std::lock_guard guard(lock_.mutex);
    return holds_in_time();
  }
  [[nodiscard]] lockbyfile::fencing_token token() const noexcept override {
    return lockbyfile::fencing_token(token_);
  }
  [[nodiscard]] const std::string& path() const noexcept override { return who_.command; }

 private:
  void take(lockbyfile::grant& result) {
    if (lock_.held_under != 0) {
      result.how = lock_.holder == nullptr ? lockbyfile::grant_kind::abandoned
                                           : lockbyfile::grant_kind::expired;
      result.previous = lock_.who;
    }
    held_under_ = token_ = lock_.held_under = ++lock_.counter;
    lock_.holder = this;
    lock_.deadline = lockbyfile::after(lock_.now, lease_);
    lock_.who = who_;
    result.token = lockbyfile::fencing_token(token_);
  }
  [[nodiscard]] bool holds_in_time() const {
    return held_under_ != 0 && lock_.held_under == held_under_ && lock_.now < lock_.deadline;
  }
  [[nodiscard]] std::error_code says_about_our_grant(lockbyfile::fencing_token of) const {
    if (held_under_ == 0) return lockbyfile::errc::not_holder;
    if (lock_.held_under != held_under_ || held_under_ != of.value())
      return lockbyfile::errc::lease_lost;
    return {};
  }

  memory_lock& lock_;
  std::chrono::nanoseconds lease_;
  lockbyfile::party who_;
  bool is_dead_ = false;
  std::uint64_t held_under_ = 0;
  std::uint64_t token_ = 0;
};
