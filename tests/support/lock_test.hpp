// SPDX-License-Identifier: Apache-2.0
//
// The fixture of tests with a lock in a directory of its own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <lockbyfile/lockbyfile.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/lock_process.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/temporary_directory.hpp"

/// Looks again and again until `event` has happened, for a minute at the most.
template <class Event>
bool eventually(Event event) {
  const auto limit = steady_now() + std::chrono::minutes(1);
  while (!event()) {
    if (steady_now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

/// Waits until exactly `count` wait for the lock called `name`.
inline void wait_for_line_of(const std::string& name, std::size_t count) {
  if (!eventually([&] { return lockbyfile::observe(name).waiters.size() == count; }))
    throw std::runtime_error("the line does not become " + std::to_string(count) + " long");
}

/// Waits until exactly `count` waiters sleep in the wait queue of that file.
inline void wait_for_sleepers(const std::string& path, std::size_t count) {
  const mapped_lockfile file(path);
  if (!eventually([&] { return file.sleepers() == count; }))
    throw std::runtime_error("not " + std::to_string(count) + " of those in line sleep");
}

class LockTest : public ::testing::Test {
 protected:
  /// A path, so that it is the same in every directory and environment.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& directory() const { return directory_.path(); }

  [[nodiscard]] lockbyfile::lock_state look() const { return lockbyfile::observe(name_); }

  /// Waits until exactly `count` wait for the lock.
  void wait_for_line_of(std::size_t count) const { ::wait_for_line_of(name_, count); }

  /// Lets `waiter` join the wait queue, behind the present waiters, and go to sleep.
  void queue(lock_process& waiter, std::chrono::nanoseconds patience = lockbyfile::forever) const {
    const std::size_t before = look().waiters.size();
    waiter.begin_acquire(patience);
    wait_for_line_of(before + 1);
    const mapped_lockfile file(name_);
    if (!eventually([&] { return file.is_last_asleep(); }))
      throw std::runtime_error("it is in line and does not sleep");
  }

  /// Lets the waiters be served until none is left, in any order. A busy machine may keep the first
  /// waiter from its turn for so long that it is skipped. Returns the outcomes, in the order of
  /// service.
  std::vector<outcome> serve(std::vector<lock_process*> waiters) const {
    std::vector<outcome> served;
    while (!waiters.empty()) {
      auto next = waiters.end();
      const auto is_holding = [&] {
        const auto holder = look().holder;
        next = std::find_if(waiters.begin(), waiters.end(), [&](const lock_process* w) {
          return holder && holder->who.pid == w->pid();
        });
        return next != waiters.end();
      };
      if (!eventually(is_holding)) throw std::runtime_error("the rest of the line is not served");
      served.push_back((*next)->end_acquire());
      EXPECT_TRUE(served.back()) << served.back();
      EXPECT_EQ((*next)->release(), std::error_code());
      waiters.erase(next);
    }
    return served;
  }

 private:
  temporary_directory directory_;
  std::string name_ = directory_.path() + "/bed.lockfile";
};
