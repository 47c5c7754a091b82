// SPDX-License-Identifier: Apache-2.0
//
// turns: threads of one process that want the same named_lock.
//
// They wait here, in order of arrival. Only the first of them uses the session, which may make it
// wait among the processes. So an object has one place in the wait queue of the processes, however
// many threads want it. A thread that gets its turn joins that queue at the end.
//
//   (T1) A thread that has an object to itself pays nothing. Turns are made when a second thread
//        comes, or a keep_alive. A release that found no turns looks again after it has opened the
//        lock. The thread that makes turns does so before it asks the session. Both are seq_cst, so
//        either the releaser finds the turns and wakes, or the other thread finds the lock open
//        (Dekker's pattern).
//   (T2) The grant of an object may end without a release: its lease runs out, or somebody breaks
//        it. Nothing reports that. So a thread that waits for it looks every `watch`, as a
//        keep_alive does.
//   (T3) A thread may acquire while another thread has not released a grant that was lost. The
//        first thread then supersedes the other. A late release or renewal by the other thread is
//        not of the new grant: it returns lease_lost and changes nothing (P4). A release or renewal
//        that began before there were turns names its grant by the token, so it changes nothing
//        either (named_lock_impl.hpp, O2). But it may erase who owns the new grant, and then that
//        thread does not get would_deadlock. So a thread that makes turns for that purpose first
//        waits for `grace`.
//   (T4) fork: the child's copy may be locked forever. It belongs to the process that made it, and
//        no other process touches it.
//        is not touched in another.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <lockbyfile/error.hpp>
#include <mutex>
#include <stop_token>
#include <vector>

#include "core/instant.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile {

/// A thread of this process. Another may have the same mark after this one has ended. Not 0.
using thread_mark = std::uint64_t;

inline thread_mark this_thread() noexcept { return static_cast<thread_mark>(::pthread_self()); }

class turns {
 public:
  static constexpr instant watch = milliseconds(100);
  static constexpr instant grace = milliseconds(1);

  const std::uint64_t process = process_epoch();

  /// For renewals and releases: one at a time, and not while a thread begins to use the session.
  std::mutex use;

  /// A place among the threads that wait. While this lives, `alone_` is locked, except in sleep()
  /// and between let_go() and come_back().
  class place {
   public:
    explicit place(turns& t) : turns_(t), alone_(t.mutex_) {
      at_ = t.line_.insert(t.line_.end(), 0);
    }
    ~place() {
      if (!alone_.owns_lock()) alone_.lock();
      turns_.line_.erase(at_);
      ++turns_.changes_;
      turns_.changed_.notify_all();
    }
    place(const place&) = delete;
    place& operator=(const place&) = delete;

    [[nodiscard]] bool is_first() const { return turns_.line_.begin() == at_; }
    [[nodiscard]] std::size_t others() const { return turns_.line_.size() - 1; }
    /// Lets others in while the session is asked.
    void let_go() { alone_.unlock(); }
    void come_back() { alone_.lock(); }
    [[nodiscard]] std::uint64_t changes() const { return turns_.changes_; }
    /// Sleeps until another thread has released or left since `seen` changes, or until `until`.
    void sleep(std::uint64_t seen, instant until, const std::stop_token& stop) {
      const auto has_changed = [&] { return turns_.changes_ != seen; };
      const auto ns = std::chrono::nanoseconds(between(0, until));
      turns_.changed_.wait_until(alone_, stop, std::chrono::steady_clock::time_point(ns),
                                 has_changed);
    }

   private:
    turns& turns_;
    std::unique_lock<std::mutex> alone_;
    std::list<int>::iterator at_;
  };

  /// Makes the waiting threads look again.
  void have_changed() noexcept {
    {
      const std::lock_guard alone(mutex_);
      ++changes_;
    }
    changed_.notify_all();
  }

  /// Supersedes the grant `token`, which `before` has not released (T3).
  /// `before` is 0 if it has.
  void supersede(thread_mark by, thread_mark before, std::uint64_t token, lost_cause cause) {
    const std::lock_guard alone(mutex_);
    std::erase_if(superseded_, [&](const lost& l) { return l.who == by; });
    if (before != 0 && before != by) superseded_.push_back({before, token, cause});
  }
  /// Whether the calling thread was superseded.
  [[nodiscard]] bool is_superseded(thread_mark who) const noexcept {
    const std::lock_guard alone(mutex_);
    return std::ranges::any_of(superseded_, [&](const lost& l) { return l.who == who; });
  }
  [[nodiscard]] bool is_superseded_grant(std::uint64_t token) const noexcept {
    const std::lock_guard alone(mutex_);
    return std::ranges::any_of(superseded_, [&](const lost& l) { return l.token == token; });
  }
  /// The callbacks for an engine that reports losses by itself: one for each keep_alive.
  using subscription = std::list<std::function<void()>>::iterator;
  subscription subscribe(std::function<void()> tell) {
    const std::lock_guard alone(subscribers_mutex_);
    return subscribers_.insert(subscribers_.end(), std::move(tell));
  }
  /// No callback runs afterwards.
  void unsubscribe(subscription which) noexcept {
    const std::lock_guard alone(subscribers_mutex_);
    subscribers_.erase(which);
  }
  void tell_of_loss() {
    const std::lock_guard alone(subscribers_mutex_);
    for (const auto& tell : subscribers_) tell();
  }
  /// True the first time only: the caller then asks the engine to report losses.
  bool first_to_ask() noexcept { return !has_asked_.exchange(true); }
  [[nodiscard]] bool has_asked() const noexcept { return has_asked_.load(); }

  [[nodiscard]] lost_cause cause_of(std::uint64_t token, thread_mark who) const noexcept {
    const std::lock_guard alone(mutex_);
    const auto is_it = [&](const lost& l) { return l.who == who || l.token == token; };
    const auto found = std::ranges::find_if(superseded_, is_it);
    return found == superseded_.end() ? lost_cause::none : found->cause;
  }

  void forget_superseded(thread_mark who) noexcept {
    const std::lock_guard alone(mutex_);
    std::erase_if(superseded_, [&](const lost& l) { return l.who == who; });
  }

 private:
  struct lost {
    thread_mark who;
    std::uint64_t token;
    lost_cause cause;
  };

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t changes_ = 0;
  std::list<int> line_;
  std::vector<lost> superseded_;

  std::mutex subscribers_mutex_;  // apart: an engine reports with its own mutexes held
  std::list<std::function<void()>> subscribers_;
  std::atomic<bool> has_asked_{false};
};

}  // namespace lockbyfile
