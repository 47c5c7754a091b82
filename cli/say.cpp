// SPDX-License-Identifier: Apache-2.0
#include "say.hpp"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "loose_thread.hpp"
#include "printable.hpp"

namespace lockbyfile::cli {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_unwritten = 64 << 10;
constexpr std::chrono::milliseconds to_keep_the_order{10};
constexpr std::chrono::seconds to_finish{1};

/// Whether a write would return now, with success or an error.
bool stderr_takes_something(int timeout) {
  pollfd p{STDERR_FILENO, POLLOUT, 0};
  return ::poll(&p, 1, timeout) != 0;
}

/// Waits if another process has made the descriptor non-blocking. An error is dropped: there is no
/// place to report that stderr cannot be written.
void write_all(std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0 || (errno != EAGAIN && errno != EINTR)) {
      return;
    } else if (errno == EAGAIN) {
      stderr_takes_something(-1);
    }
  }
}

class writer {
 public:
  void write_soon(std::string text) {
    std::unique_lock lock(mutex_);
    if (process_ != ::getpid()) {  // in a child of fork, which has no thread of ours
      lock.unlock();
      return write_all(text);
    }
    if (unwritten_ + text.size() > most_unwritten) return;
    unwritten_ += text.size();
    texts_.push_back(std::move(text));
    if (is_writing_) return;
    is_writing_ = start_loose_thread([this] { write_what_there_is(); });
    if (!is_writing_) write_what_is_taken_now();
  }

  void wait_until_written(clock::duration at_most) {
    std::unique_lock lock(mutex_);
    wait_while(lock, clock::now() + at_most, [this] { return is_writing_; });
  }

  void begin_to_find_out() {
    const std::lock_guard guard(mutex_);
    ++unknown_;
  }
  void has_found_out() {
    const std::lock_guard guard(mutex_);
    --unknown_;
    written_.notify_all();
  }
  void wait_until_all_is_said(clock::duration at_most) {
    std::unique_lock lock(mutex_);
    wait_while(lock, clock::now() + at_most, [this] { return is_writing_ || unknown_ > 0; });
  }

 private:
  template <class Condition>
  void wait_while(std::unique_lock<std::mutex>& lock, clock::time_point end, Condition holds) {
    while (process_ == ::getpid() && holds() && stderr_takes_something(0) && clock::now() < end) {
      written_.wait_until(lock, std::min(end, clock::now() + std::chrono::milliseconds(1)));
    }
  }
  void write_what_there_is() {
    std::unique_lock lock(mutex_);
    while (!texts_.empty()) {
      const std::string text = std::move(texts_.front());
      texts_.pop_front();
      lock.unlock();
      write_all(text);
      lock.lock();
      unwritten_ -= text.size();
    }
    is_writing_ = false;
    written_.notify_all();
  }
  /// For the case that no thread can be started. A write of at most PIPE_BUF bytes returns at once
  /// when poll(2) sees room, unless another writer fills the pipe in between.
  void write_what_is_taken_now() {
    for (const std::string& text : texts_) {
      std::string_view rest = text;
      while (!rest.empty() && stderr_takes_something(0)) {
        const auto written =
            ::write(STDERR_FILENO, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
        if (written <= 0) break;
        rest.remove_prefix(static_cast<std::size_t>(written));
      }
    }
    texts_.clear();
    unwritten_ = 0;
  }

  const pid_t process_ = ::getpid();
  std::mutex mutex_;
  std::condition_variable written_;
  std::deque<std::string> texts_;
  std::size_t unwritten_ = 0;
  bool is_writing_ = false;
  int unknown_ = 0;
};

/// Never destroyed: its thread may outlive everything else. Null until something was said.
std::atomic<writer*> made{nullptr};

writer& the_writer() {
  static writer* const w = [] {
    made = new writer;
    return made.load();
  }();
  return *w;
}

}  // namespace

void say(std::string_view message) {
  std::string line = "lockbyfile: ";
  line.append(printable(message)).append(1, '\n');
  write_soon(std::move(line));
  the_writer().wait_until_written(to_keep_the_order);
}

void write_soon(std::string text) { the_writer().write_soon(std::move(text)); }

void say_when_known(std::function<std::string()> find_out, const std::string& otherwise) {
  the_writer().begin_to_find_out();
  const bool has_started = start_loose_thread([find_out = std::move(find_out)] {
    if (const std::string text = find_out(); !text.empty()) say(text);
    the_writer().has_found_out();
  });
  if (has_started) return;
  the_writer().has_found_out();
  if (!otherwise.empty()) say(otherwise);
}

void finish_saying() {
  if (writer* const w = made.load(); w != nullptr) w->wait_until_all_is_said(to_finish);
}

}  // namespace lockbyfile::cli
