// SPDX-License-Identifier: Apache-2.0
//
// named_lock: mutual exclusion between processes, by name, with leases.
//
// Each acquisition is a grant. It carries a lease and a fencing token, which is larger than the
// token of every earlier grant of the same name. If the lease runs out before renew(), a waiter may
// take the lock over while this process still believes that it holds the lock. Exclusion is
// therefore a promise about time. For correctness send token() with each write, and let the
// resource refuse smaller tokens.
//
//   | state      | acquire       | renew        | release      | lease expires
//   | -----------+---------------+--------------+--------------+--------------
//   | not held   | held, or wait | not_holder   | not_holder   | -
//   | held       | would_deadlock| held         | not held     | lost
//   | held by    | held, or wait | held         | not held     | lost
//   |  another   |               |              |              |
//   |  thread    |               |              |              |
//   | lost       | held, or wait | held if still| lease_lost,  | -
//   |            |               | untaken, else| then not held|
//   |            |               | lease_lost   |              |
//
// A grant is also lost when an operator breaks the lock, or when the lockfile is
// deleted, renamed or replaced, which counts as a break.
//
// Thread safety: any thread may call any function of an object at any time. Except: destroy, move
// from or assign to an object only when no other thread uses it. A keep_alive may outlive the
// object. The object has one grant at a time. A thread that acquires while another thread has the
// grant waits for that thread, as with a std::mutex, at most for its patience. Only the
// thread that acquired the grant gets would_deadlock. The functions is_held(), token(), renew() and
// release(), and keep_alive, act on the object's grant, whichever thread calls. Except: a thread
// may have lost its grant and not have released it when another thread acquires. That thread then
// gets lease_lost from renew() and release(), and the new grant is not disturbed.
//
// Order: threads of one object take turns in order of arrival. Only the thread whose turn it is
// waits among the processes, at the end of their wait queue. So a process with many threads on one
// object has one place there, and each of its threads waits for the other processes anew. To have
// each thread queue as a process does, give each thread an object of its own. Several objects may
// share a name, in one process or in many; they exclude each other. A thread that holds a lock and
// acquires it with a second object waits until its patience ends.
//
// fork: the parent keeps the grant. The child's copy is "not held"; it opens a session of its own
// when it is used. The descriptor is close-on-exec.
//
// The engine decides how waiting, order and release after a crash work: see docs/guarantees.md.
// "Does not block" refers to a lock in a file. In etcd opening, renewing and releasing exchange
// messages with a server, and can fail with unreachable (docs/etcd.md).
#pragma once

#include <chrono>
#include <lockbyfile/error.hpp>
#include <lockbyfile/export.hpp>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/options.hpp>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace lockbyfile {
inline namespace v0 {

class LOCKBYFILE_EXPORT named_lock {
 public:
  /// Opens the lock called `name`, creating its state if absent. Holds nothing.
  ///
  /// A name without a slash is the file NAME.lockfile in options.directory; a name
  /// with slashes is a path, used as it is. It is resolved once, here.
  ///
  /// Throws lock_error: invalid_name, invalid_option, wrong_engine, damaged,
  /// too_many_sessions, clock_mismatch, network_filesystem, stuck, unreachable, or the
  /// system's error with the path.
  ///
  /// In a file it blocks only while another process sets up or removes the very same file, and then
  /// for some 2 seconds at most (stuck). In etcd it blocks until a server answers, for the patience
  /// at most (unreachable). A patience below 1 s counts as 1 s here. A patience above 30 s counts
  /// as 30 s, or as the ttl if that is longer.
  explicit named_lock(std::string_view name, const lock_options& options = {});

  /// The same, but an error is set in `ec` and no lock is returned, instead of an exception.
  [[nodiscard]] static std::optional<named_lock> open(std::string_view name,
                                                      const lock_options& options,
                                                      std::error_code& ec);

  /// Releases the lock if this object holds it; a successor is not disturbed.
  ~named_lock();

  /// A lock that was moved from can only be destroyed, unlocked or assigned to.
  named_lock(named_lock&&) noexcept;
  named_lock& operator=(named_lock&&) noexcept;
  named_lock(const named_lock&) = delete;
  named_lock& operator=(const named_lock&) = delete;

  /// Waits up to `patience` for the lock and returns the grant.
  ///
  /// `patience` counts from the call. Zero or less tries once without waiting; `forever` never
  /// gives up. Waiters are served in order of arrival, except that a newcomer may go first while
  /// the first waiter has waited for less than 1 ms. Giving up removes the waiter at once. A grant
  /// that arrives together with the deadline or the stop request is returned, not dropped. Signal
  /// handlers run while it waits and do not end the wait.
  ///
  /// Errors, with nothing held:
  ///
  ///   - timed_out        `patience` ran out
  ///   - cancelled        `stop` was requested while waiting
  ///   - would_deadlock   this thread holds the lock with this object
  ///   - other            as for the constructor: the file may have to be reopened
  ///
  /// The overloads without an error_code throw lock_error for each of these errors. The overload
  /// with it throws only std::bad_alloc.
  grant acquire();  // options.patience
  grant acquire(std::chrono::nanoseconds patience, std::stop_token stop = {});
  [[nodiscard]] std::optional<grant> acquire(std::chrono::nanoseconds patience,
                                             std::stop_token stop, std::error_code& ec);

  /// Starts the lease again at full length; the token stays the same. Never waits for other
  /// parties. Errors: lease_lost if the lock was granted to anybody since, was broken, or its file
  /// was deleted; not_holder without a grant.
  void renew();
  void renew(std::error_code& ec) noexcept;

  /// Like unlock(), but reports whether the lease lasted. Errors: lease_lost if the lease had run
  /// out or the grant was lost otherwise; not_holder without a grant. Nothing is held afterwards,
  /// and a new holder is not disturbed. Does not block.
  void release(std::error_code& ec) noexcept;

  /// Time until the current lease expires, at least zero; no_lease if it never expires. Zero if
  /// nothing is held. After a break it is the time that would be left: ask is_held() as well.
  [[nodiscard]] std::chrono::nanoseconds lease_remaining() const noexcept;

  /// How long the grant stays valid without another reply from the server (docs/etcd.md). Each
  /// reply raises it again. The lease counts separately. no_lease for a lockfile, which needs no
  /// server. Zero if nothing is held.
  [[nodiscard]] std::chrono::nanoseconds certain_for() const noexcept;

  /// Whether this object holds an unexpired grant that nobody broke. A hint: the answer may be
  /// stale when it is read. Compares the path with the file at most once a millisecond.
  [[nodiscard]] bool is_held() const noexcept;

  /// The same as is_held(), under the name that std::unique_lock has for it.
  [[nodiscard]] bool owns_lock() const noexcept;

  /// Token of the current or last grant; the zero token if there was none.
  [[nodiscard]] fencing_token token() const noexcept;

  /// The lease of the next grant or renewal. Throws lock_error (invalid_option).
  void set_lease(std::chrono::nanoseconds lease);
  [[nodiscard]] std::chrono::nanoseconds lease() const noexcept;

  /// Records in the lock how the work done under the current grant ended; observe() shows it. Call
  /// it before release. Does nothing without a grant. Does not block; where a server keeps the
  /// lock, the record is sent with the release.
  void note_run(std::chrono::nanoseconds duration, int exit_code) noexcept;

  /// The lockfile: absolute, and fixed when the lock was opened.
  [[nodiscard]] const std::string& path() const noexcept;

  /// The descriptor that is this session's lifeline: the lock counts as alive while any process has
  /// it open. Pass a duplicate to a child that shares the lock. The descriptor changes when the
  /// lock is acquired anew after its file was replaced. -1 if there is none.
  [[nodiscard]] int native_handle() const noexcept;

  // Lockable and TimedLockable, for std::unique_lock and std::scoped_lock.
  // lock() waits for options.patience and throws timed_out when it runs out. All but unlock()
  // throw would_deadlock if this thread holds the lock with this object, where a std::mutex would
  // be undefined. After a takeover unlock() does nothing; use release() to learn of the takeover.
  void lock();
  [[nodiscard]] bool try_lock();
  void unlock() noexcept;

  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> patience) {
    return try_for(saturated(patience));
  }

  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> deadline) {
    // A clock other than the steady one may be set while the thread waits: look again.
    for (;;) {
      const auto now = Clock::now();
      if (deadline <= now) return try_for(std::chrono::nanoseconds(0));
      if (try_for(saturated(deadline - now))) return true;
    }
  }

 private:
  friend class keep_alive;
  friend struct at_once;  // src/core/at_once.hpp
  class impl;

  bool try_for(std::chrono::nanoseconds patience);
  void wait_for_lock();

  template <class Rep, class Period>
  static std::chrono::nanoseconds saturated(std::chrono::duration<Rep, Period> d) {
    using std::chrono::nanoseconds;
    using seconds = std::chrono::duration<double>;
    if (seconds(d) >= seconds(forever)) return forever;
    if (seconds(d) <= seconds(0)) return nanoseconds(0);
    return std::chrono::ceil<nanoseconds>(d);
  }

  std::shared_ptr<impl> impl_;
};

}  // namespace v0
}  // namespace lockbyfile
