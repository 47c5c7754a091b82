// SPDX-License-Identifier: Apache-2.0
//
// A process with a lock of its own, which the test controls. Its calls of acquire
// are begun and ended apart, so that a test may go on while the process waits.
//
//   lock_process holder(name), waiter(name);
//   ASSERT_TRUE(holder.acquire(0ns));
//   waiter.begin_acquire(forever);
//   holder.kill();
//   EXPECT_EQ(waiter.end_acquire().how, grant_kind::abandoned);
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "support/child.hpp"

/// CLOCK_MONOTONIC: the same for all processes.
inline std::chrono::nanoseconds steady_now() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

/// What a call of acquire in another process came to.
struct outcome {
  std::error_code error;
  lockbyfile::grant granted;
  std::chrono::nanoseconds begun{0};  // steady_now() around the call
  std::chrono::nanoseconds ended{0};

  explicit operator bool() const { return !error; }
  friend std::ostream& operator<<(std::ostream& out, const outcome& o) {
    return o.error ? out << o.error.message() : out << "granted " << o.granted.token.value();
  }
};

class lock_process {
 public:
  /// Opens the lock called `name`. `prepare` runs in the process before that.
  explicit lock_process(std::string name, lockbyfile::lock_options options = {},
                        std::function<void()> prepare = {})
      : lock_process(not_yet_open, std::move(name), std::move(options), std::move(prepare)) {
    open();
  }

  enum not_yet_open_t { not_yet_open };
  lock_process(not_yet_open_t /*tag*/, std::string name, lockbyfile::lock_options options = {},
               std::function<void()> prepare = {})
      : child_([name = std::move(name), options = std::move(options),
                prepare = std::move(prepare)](talk& t) {
          if (prepare) prepare();
          serve(t, name, options);
        }) {}

  void begin_open() { child_.say("open"); }
  void end_open() { child_.expect("open"); }
  void open() {
    begin_open();
    end_open();
  }

  void begin_acquire(std::chrono::nanoseconds patience) {
    child_.say("acquire " + std::to_string(patience.count()));
  }
  outcome end_acquire() { return parsed(child_.hear()); }
  /// Of an acquire that was begun and not ended.
  [[nodiscard]] bool is_waiting() const { return !child_.has_spoken(); }
  outcome acquire(std::chrono::nanoseconds patience) {
    begin_acquire(patience);
    return end_acquire();
  }

  std::error_code release() { return done("release"); }
  std::error_code renew() { return done("renew"); }
  void begin_release() { child_.say("release"); }
  void begin_renew() { child_.say("renew"); }
  /// An operator's operations, for which this process need not have the lock open.
  void begin_break(lockbyfile::fencing_token expected = {}) {
    child_.say("break " + std::to_string(expected.value()));
  }
  void begin_remove() { child_.say("remove"); }
  std::error_code end_deed() {
    std::istringstream line(child_.hear());
    return parsed_error(line);
  }
  std::error_code set_lease(std::chrono::nanoseconds lease) {
    return done("set_lease " + std::to_string(lease.count()));
  }
  bool is_held() {
    child_.say("is_held");
    return child_.hear() == "yes";
  }
  /// Destroys the lock, after which the process can only end.
  void destroy() {
    child_.say("destroy");
    child_.expect("destroyed");
  }
  /// exit() of the process, the lock as it is.
  int exit() {
    child_.say("exit");
    return child_.wait();
  }
  /// Replaces the program of the process by one that sleeps.
  void exec() { child_.say("exec"); }

  [[nodiscard]] unsigned pid() const { return static_cast<unsigned>(child_.pid()); }
  void signal(int number) const { child_.signal(number); }
  void stop() const { child_.stop(); }
  void go_on() const { child_.go_on(); }
  void kill() { child_.kill(); }

 private:
  std::error_code done(const std::string& verb) {
    child_.say(verb);
    return end_deed();
  }

  static std::error_code parsed_error(std::istringstream& line) {
    std::string category;
    int value = 0;
    line >> category >> value;
    if (category == "lockbyfile") return {value, lockbyfile::lock_category()};
    return {value, std::system_category()};
  }
  static std::string written(const std::error_code& e) {
    return std::string(e.category().name()) + ' ' + std::to_string(e.value());
  }

  static outcome parsed(const std::string& text) {
    std::istringstream line(text);
    outcome o;
    std::int64_t begun = 0;
    std::int64_t ended = 0;
    line >> begun >> ended;
    o.begun = std::chrono::nanoseconds(begun);
    o.ended = std::chrono::nanoseconds(ended);
    o.error = parsed_error(line);
    if (o.error) return o;
    std::uint64_t token = 0;
    int how = 0;
    std::int64_t waited = 0;
    line >> token >> how >> waited >> o.granted.place;
    o.granted.token = lockbyfile::fencing_token(token);
    o.granted.how = static_cast<lockbyfile::grant_kind>(how);
    o.granted.waited = std::chrono::nanoseconds(waited);
    if (lockbyfile::party previous; line >> previous.pid >> previous.user) {
      std::getline(line >> std::ws, previous.command);
      o.granted.previous = previous;
    }
    return o;
  }

  static std::string acquired(lockbyfile::named_lock& lock, std::chrono::nanoseconds patience) {
    std::error_code ec;
    const auto begun = steady_now();
    const auto granted = lock.acquire(patience, {}, ec);
    const auto ended = steady_now();
    std::ostringstream line;
    line << begun.count() << ' ' << ended.count() << ' ' << written(ec);
    if (granted) {
      line << ' ' << granted->token.value() << ' ' << static_cast<int>(granted->how) << ' '
           << granted->waited.count() << ' ' << granted->place;
      if (const auto& p = granted->previous)
        line << ' ' << p->pid << ' ' << p->user << ' ' << p->command;
    }
    return line.str();
  }

  static void serve(talk& t, const std::string& name, const lockbyfile::lock_options& options) {
    std::optional<lockbyfile::named_lock> lock;
    for (;;) {
      std::istringstream line(t.hear());
      std::string verb;
      std::int64_t number = 0;
      line >> verb >> number;
      std::error_code ec;
      if (verb == "open") {
        lock.emplace(name, options);
        t.say("open");
      } else if (verb == "break") {
        const lockbyfile::fencing_token expected(static_cast<std::uint64_t>(number));
        lockbyfile::break_lock(name, expected, options, ec);
        t.say(written(ec));
      } else if (verb == "remove") {
        lockbyfile::remove(name, options, ec);
        t.say(written(ec));
      } else if (verb == "acquire") {
        t.say(acquired(*lock, std::chrono::nanoseconds(number)));
      } else if (verb == "release") {
        lock->release(ec);
        t.say(written(ec));
      } else if (verb == "renew") {
        lock->renew(ec);
        t.say(written(ec));
      } else if (verb == "set_lease") {
        lock->set_lease(std::chrono::nanoseconds(number));
        t.say(written(ec));
      } else if (verb == "is_held") {
        t.say(lock->is_held() ? "yes" : "no");
      } else if (verb == "destroy") {
        lock.reset();
        t.say("destroyed");
      } else if (verb == "exec") {
        ::execlp("sleep", "sleep", "60", nullptr);
        throw std::runtime_error("there is no program sleep");
      } else {
        ::_exit(0);
      }
    }
  }

  child child_;
};
