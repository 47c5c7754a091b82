// SPDX-License-Identifier: Apache-2.0
//
// The common parts of the tests of the promised bounds.
//
// The tests take medians, or the best of a few rounds, and have wide margins. They must fail when a
// wake is lost and a waiter sleeps on, but not when the machine is busy. The promises themselves
// are in docs/guarantees.md.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

/// Delays, shown in milliseconds.
class delays {
 public:
  void add(std::chrono::nanoseconds d) { all_.push_back(d); }
  [[nodiscard]] std::chrono::nanoseconds median() {
    std::sort(all_.begin(), all_.end());
    return all_.at(all_.size() / 2);
  }
  [[nodiscard]] std::chrono::nanoseconds most() {
    return *std::max_element(all_.begin(), all_.end());
  }
  [[nodiscard]] std::chrono::nanoseconds least() {
    return *std::min_element(all_.begin(), all_.end());
  }
  void print(const char* what) {
    std::sort(all_.begin(), all_.end());
    const auto ms = [](std::chrono::nanoseconds d) { return static_cast<double>(d.count()) / 1e6; };
    std::printf("%s: least %.3f, median %.3f, most %.3f ms of %zu\n", what, ms(least()),
                ms(median()), ms(all_.back()), all_.size());
  }

 private:
  std::vector<std::chrono::nanoseconds> all_;
};

/// `count` sessions in one process that wait for the lock, for `patience` at the most, and
/// release it at once.
class crowd {
 public:
  crowd(const std::string& name, unsigned count, std::chrono::nanoseconds patience)
      : child_([name, count, patience](talk& t) {
          std::deque<lockbyfile::named_lock> locks;
          for (unsigned i = 0; i < count; ++i) locks.emplace_back(name);
          {
            std::deque<std::jthread> all;
            for (lockbyfile::named_lock& lock : locks) {
              all.emplace_back([&] {
                if (lock.try_lock_for(patience)) lock.unlock();
              });
            }
          }
          t.say("gone");
          (void)t.hear();
        }) {}
  void await_end() { child_.expect("gone"); }

 private:
  child child_;
};

class BoundsTiming : public LockTest {
 protected:
  /// Waits until `waiter` will look by itself in so much time.
  void await_next_look(const lock_process& waiter, std::chrono::nanoseconds from,
                       std::chrono::nanoseconds to) const {
    const mapped_lockfile lockfile(name());
    const auto is_due = [&](const lockbyfile::file::slot& s) {
      const auto next = std::chrono::nanoseconds(s.next_look.load());
      return s.pid.load() == waiter.pid() && next > steady_now() + from && next < steady_now() + to;
    };
    const auto* slots = lockfile->slots;
    if (!eventually(
            [&] { return std::any_of(slots, slots + lockbyfile::file::first_capacity, is_due); }))
      throw std::runtime_error("it never looks just then");
  }

  /// Puts `next` behind `head`, which is stopped. `count` others have waited between the two and
  /// have given up. So `next` is far from the first waiter by its ticket, but not by its place.
  void queue_behind_a_stopped(lock_process& head, lock_process& next, unsigned count,
                              std::chrono::nanoseconds patience) const {
    queue(head);
    crowd between(name(), count, patience);
    wait_for_line_of(count + 1);
    queue(next);
    between.await_end();
    head.stop();
  }
};
