// SPDX-License-Identifier: Apache-2.0
//
// The in-memory engine for the conformance suite. Its processes are threads. Time stands still
// except in pass().
#pragma once

#include <future>
#include <memory>
#include <utility>

#include "conformance/memory_engine.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

class memory_world {
 public:
  static constexpr std::chrono::nanoseconds short_lease = std::chrono::minutes(10);
  static constexpr std::chrono::nanoseconds long_time = std::chrono::hours(24 * 365);

  class process {
   public:
    process(memory_lock& lock, const lockbyfile::lock_options& options, unsigned id)
        : session_(std::make_unique<memory_session>(lock, options, id)), lock_(lock), id_(id) {}
    process(process&&) noexcept = default;
    process& operator=(process&&) = delete;
    process(const process&) = delete;
    process& operator=(const process&) = delete;
    ~process() {
      if (session_ != nullptr) kill();
    }

    void begin_acquire(std::chrono::nanoseconds patience) {
      acquired_ = std::async(std::launch::async, [this, patience] {
        const bool tries_once = patience <= std::chrono::nanoseconds(0);
        outcome o;
        const auto granted = session_->acquire(tries_once ? 0 : deadline_in(patience), {}, o.error);
        if (granted) o.granted = *granted;
        return o;
      });
    }
    outcome end_acquire() { return acquired_.get(); }
    outcome acquire(std::chrono::nanoseconds patience) {
      begin_acquire(patience);
      return end_acquire();
    }
    [[nodiscard]] bool is_waiting() const {
      return acquired_.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready;
    }
    std::error_code release() {
      std::error_code ec;
      session_->release(session_->token(), ec);
      return ec;
    }
    std::error_code renew() {
      std::error_code ec;
      session_->renew(session_->token(), ec);
      return ec;
    }
    void set_lease(std::chrono::nanoseconds lease) { session_->set_lease(lease); }
    bool is_held() { return session_->is_held(); }
    void destroy() { session_.reset(); }
    void kill() {
      session_->die();
      if (acquired_.valid()) acquired_.wait();
    }
    [[nodiscard]] unsigned pid() const { return id_; }

   private:
    lockbyfile::instant deadline_in(std::chrono::nanoseconds d) const {
      const std::lock_guard guard(lock_.mutex);
      return lockbyfile::after(lock_.now, d);
    }

    std::unique_ptr<memory_session> session_;
    memory_lock& lock_;
    std::future<outcome> acquired_;
    unsigned id_;
  };

  process join(const lockbyfile::lock_options& options = {}) {
    return {lock_, options, ++processes_};
  }
  std::unique_ptr<lockbyfile::session> open(const lockbyfile::lock_options& options = {}) {
    return std::make_unique<memory_session>(lock_, options, ++processes_);
  }
  void pass(std::chrono::nanoseconds d) { lock_.pass(d); }

  void wait_for_line_of(std::size_t count) {
    const auto is_so_long = [&] {
      const std::lock_guard guard(lock_.mutex);
      return lock_.line.size() == count;
    };
    if (!eventually(is_so_long)) throw std::runtime_error("the line is of another length");
  }

  std::error_code break_lock(lockbyfile::fencing_token expected = {}) {
    const std::lock_guard guard(lock_.mutex);
    if (lock_.held_under == 0 || (expected && lock_.held_under != expected.value()))
      return lockbyfile::errc::token_mismatch;
    lock_.held_under = 0;
    lock_.holder = nullptr;
    lock_.changed.notify_all();
    return {};
  }

 private:
  memory_lock lock_;
  unsigned processes_ = 0;
};
