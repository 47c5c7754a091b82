// SPDX-License-Identifier: Apache-2.0
#include "waiting_line.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <lockbyfile/options.hpp>
#include <mutex>
#include <string_view>
#include <utility>

#include "describe.hpp"
#include "duration.hpp"
#include "loose_thread.hpp"
#include "printable.hpp"
#include "say.hpp"

namespace lockbyfile::cli {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds before_the_first{100};
constexpr std::chrono::seconds between_drawings{1};
constexpr std::chrono::seconds between_log_lines{60};

/// The number of bytes in the first `columns` characters of `text`, which is well-formed UTF-8.
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

/// Only the time of day, if it was today.
std::string short_time_text(std::chrono::system_clock::time_point time) {
  constexpr std::size_t date_length = 11;  // "2015-06-30 "
  std::string then = time_text(time);
  const std::string now = time_text(std::chrono::system_clock::now());
  if (then.substr(0, date_length) != now.substr(0, date_length)) return then;
  return then.substr(date_length);
}

}  // namespace

/// The state that the drawing and the waiting thread share. Neither holds the mutex for long.
struct waiting_line::shared {
  shared(std::string n, std::string p) : name(std::move(n)), path(std::move(p)) {}

  void tell_until_over();
  void show(const std::string& text);

  const std::string name;
  const std::string path;
  const bool on_terminal = ::isatty(STDERR_FILENO) == 1;
  std::mutex mutex;
  std::condition_variable changed;
  bool is_over = false;
  bool is_drawn = false;
};

void waiting_line::shared::tell_until_over() {
  const auto begin = steady_clock::now();
  std::unique_lock lock(mutex);
  std::chrono::nanoseconds pause = before_the_first;
  while (!changed.wait_for(lock, pause, [this] { return is_over; })) {
    lock.unlock();
    std::error_code ec;
    const auto state = observe(path, {}, ec);
    show(describe_waiting(name, state.value_or(lock_state{}), steady_clock::now() - begin,
                          static_cast<unsigned>(::getpid())));
    lock.lock();
    pause = on_terminal ? between_drawings : between_log_lines;
  }
}

void waiting_line::shared::show(const std::string& text) {
  const bool is_in_foreground = on_terminal && ::tcgetpgrp(STDERR_FILENO) == ::getpgrp();
  const std::size_t columns = on_terminal ? terminal_columns() : 0;
  const std::lock_guard guard(mutex);
  if (is_over) return;
  if (!on_terminal) {
    write_soon("lockbyfile: " + printable(text) + '\n');
  } else if (is_in_foreground) {
    write_soon("\r\x1b[K" + text.substr(0, bytes_of(text, columns)));
    is_drawn = true;
  }
}

waiting_line::waiting_line(std::string name, std::string path)
    : shared_(std::make_shared<shared>(std::move(name), std::move(path))) {
  (void)start_loose_thread([s = shared_] { s->tell_until_over(); });
}

waiting_line::~waiting_line() {
  const std::lock_guard guard(shared_->mutex);
  shared_->is_over = true;
  if (shared_->is_drawn) write_soon("\r\x1b[K");
  shared_->changed.notify_all();
}

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
