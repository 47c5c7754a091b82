// SPDX-License-Identifier: Apache-2.0
//
// A lock_process that stops, or dies, when it reaches a point of the protocol that the
// test names (src/file/point.hpp).
//
//   staged_process waiter(name);
//   waiter.stop_at(point::deadline_written);
//   waiter.begin_acquire(forever);
//   waiter.await_stop();      // here the test does its worst
//   waiter.go_on();
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>

#include "file/point.hpp"
#include "support/lock_process.hpp"
#include "support/shared_memory.hpp"

#ifndef LOCKBYFILE_POINTS
#error "These tests need the library that has points"
#endif

/// A point as a test's parameter.
struct named_point {
  lockbyfile::file::point value;
  const char* name;
  friend std::ostream& operator<<(std::ostream& out, const named_point& p) { return out << p.name; }
};
inline constexpr named_point all_points[] = {
#define LOCKBYFILE_POINT_ENTRY(name) {lockbyfile::file::point::name, #name},
    LOCKBYFILE_EACH_POINT(LOCKBYFILE_POINT_ENTRY)
#undef LOCKBYFILE_POINT_ENTRY
};
inline constexpr named_point named(lockbyfile::file::point p) {
  return all_points[static_cast<std::size_t>(p)];
}

class staged_process : public lock_process {
 public:
  explicit staged_process(std::string name, lockbyfile::lock_options options = {})
      : staged_process(not_yet_open, std::move(name), std::move(options)) {
    open();
  }
  staged_process(not_yet_open_t tag, std::string name, lockbyfile::lock_options options = {})
      : staged_process(tag, std::make_shared<shared_memory<stage>>(), std::move(name),
                       std::move(options)) {}

  void stop_at(lockbyfile::file::point p) { strike_at(p, SIGSTOP); }
  void kill_at(lockbyfile::file::point p) { strike_at(p, SIGKILL); }

  /// Whether the point of the last call above was reached.
  [[nodiscard]] bool was_struck() const { return (*stage_)->struck.load(); }

  void await_stop() const {
    int status = 0;
    const auto id = static_cast<pid_t>(pid());
    if (::waitpid(id, &status, WUNTRACED) != id || !WIFSTOPPED(status) || !was_struck())
      throw std::runtime_error("it ended and did not reach the point");
  }

 private:
  struct stage {
    std::atomic<int> point;
    std::atomic<int> signal;  // 0: none
    std::atomic<bool> struck;
  };
  using shared_stage = std::shared_ptr<shared_memory<stage>>;

  staged_process(not_yet_open_t tag, shared_stage s, std::string name,
                 lockbyfile::lock_options options)
      : lock_process(tag, std::move(name), std::move(options),
                     [s] {
                       own_stage = &**s;
                       lockbyfile::file::at_point = strike;
                     }),
        stage_(std::move(s)) {}

  void strike_at(lockbyfile::file::point p, int signal) {
    (*stage_)->struck = false;
    (*stage_)->point = static_cast<int>(p);
    (*stage_)->signal = signal;
  }

  static void strike(lockbyfile::file::point p) noexcept {
    if (own_stage->point.load() != static_cast<int>(p)) return;
    const int signal = own_stage->signal.exchange(0);
    if (signal == 0) return;
    own_stage->struck = true;
    ::raise(signal);
  }

  static inline stage* own_stage = nullptr;
  shared_stage stage_;
};
