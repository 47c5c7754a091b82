// SPDX-License-Identifier: Apache-2.0
#include "waiting_line.hpp"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <lockbyfile/options.hpp>
#include <mutex>
#include <stop_token>
#include <string_view>
#include <utility>

#include "describe.hpp"
#include "duration.hpp"
#include "printable.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds before_the_first{100};
constexpr std::chrono::seconds between_drawings{1};
constexpr std::chrono::seconds between_log_lines{60};

void write_all(std::string_view text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

/// The number of bytes that the first `columns` characters of `text`, which is
/// well-formed UTF-8, take.
std::size_t bytes_of(std::string_view text, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins_one = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins_one && ++characters > columns) return i;
  }
  return text.size();
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 79;
  return size.ws_col - 1U;
}

/// Where the line appears.
class place {
 public:
  virtual ~place() = default;
  virtual void show(const std::string& text) = 0;
  virtual void erase() = 0;
  [[nodiscard]] virtual std::chrono::seconds pause() const = 0;
};

class terminal_place final : public place {
 public:
  void show(const std::string& text) override {
    if (::tcgetpgrp(STDERR_FILENO) != ::getpgrp()) return;
    write_all("\r\x1b[K" + text.substr(0, bytes_of(text, terminal_columns())));
    is_drawn_ = true;
  }
  void erase() override {
    if (is_drawn_) write_all("\r\x1b[K");
    is_drawn_ = false;
  }
  [[nodiscard]] std::chrono::seconds pause() const override { return between_drawings; }

 private:
  bool is_drawn_ = false;
};

class log_place final : public place {
 public:
  void show(const std::string& text) override { say(text); }
  void erase() override {}
  [[nodiscard]] std::chrono::seconds pause() const override { return between_log_lines; }
};

void tell(const std::stop_token& stop, place& where, const std::string& name,
          const std::string& path) {
  const auto begin = steady_clock::now();
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  std::chrono::nanoseconds pause = before_the_first;
  while (!stopped.wait_for(lock, stop, pause, [&stop] { return stop.stop_requested(); })) {
    std::error_code ec;
    const auto state = observe(path, {}, ec);
    where.show(describe_waiting(name, state.value_or(lock_state{}), steady_clock::now() - begin,
                                static_cast<unsigned>(::getpid())));
    pause = where.pause();
  }
  where.erase();
}

/// A thread begins with the signal mask of the one that starts it.
std::jthread start_without_signals(std::string name, std::string path) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::jthread thread(
      [name = std::move(name), path = std::move(path)](const std::stop_token& stop) {
        if (::isatty(STDERR_FILENO) == 1) {
          terminal_place where;
          tell(stop, where, name, path);
        } else {
          log_place where;
          tell(stop, where, name, path);
        }
      });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

/// Only the time of day, if it was today.
std::string short_time_text(std::chrono::system_clock::time_point time) {
  constexpr std::size_t date_length = 11;  // "2015-06-30 "
  std::string then = time_text(time);
  const std::string now = time_text(std::chrono::system_clock::now());
  if (then.substr(0, date_length) != now.substr(0, date_length)) return then;
  return then.substr(date_length);
}

}  // namespace

waiting_line::waiting_line(std::string name, std::string path)
    : thread_(start_without_signals(std::move(name), std::move(path))) {}

// The thread erases the line when it is asked to stop, which ~jthread does.
waiting_line::~waiting_line() = default;

std::string holder_text(const lock_state& state) {
  if (!state.holder) return "it is free and being passed on";
  const holder_info& holder = *state.holder;
  if (!holder.alive) return party_text(holder.who) + " died holding it";
  if (state.is_open()) return "the lease of " + party_text(holder.who) + " has run out";
  std::string text =
      "held by " + party_text(holder.who) + " since " + short_time_text(holder.since);
  if (holder.lease_left != no_lease) text += ", lease left " + duration_text(holder.lease_left);
  return text;
}

std::string describe_waiting(const std::string& name, const lock_state& state,
                             std::chrono::nanoseconds waited, unsigned self) {
  const auto us = std::find_if(state.waiters.begin(), state.waiters.end(),
                               [self](const waiter_info& w) { return w.who.pid == self; });
  const auto before_us = us - state.waiters.begin();
  const std::string ahead = (before_us == 0 ? "nobody" : std::to_string(before_us)) +
                            (us == state.waiters.end() ? " in line" : " ahead");
  return "waiting for " + in_quotes(name) + " (" + duration_text(waited) + "), " + ahead + ": " +
         holder_text(state);
}

}  // namespace lockbyfile::cli
