// SPDX-License-Identifier: Apache-2.0
//
// What can go wrong, by name.
//
// The first group are results: the lock works, the answer is no. The second group is broken things.
// They are thrown as lock_error, which adds the path and a sentence. Errors of the operating system
// keep their errno in std::system_category(), also inside a lock_error with the path.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <lockbyfile/export.hpp>
#include <lockbyfile/grant.hpp>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

namespace lockbyfile {
inline namespace v0 {

enum class errc {
  // results
  timed_out = 1,   // patience ran out (equivalent to std::errc::timed_out)
  cancelled,       // stop was requested (std::errc::operation_canceled)
  would_deadlock,  // this thread holds the lock with this very object
                   // (std::errc::resource_deadlock_would_occur)
  not_holder,      // renew or release without a grant
  lease_lost,      // the grant ran out, was broken, or its file was deleted
  in_use,          // remove: somebody holds the lock
  token_mismatch,  // break: the lock is not held under the expected token
  not_found,       // observe, break, remove: there is no such lockfile

  // broken
  invalid_name,        // empty, too long, with NUL, or not the name of a file
  invalid_option,      // a lease that is no usable duration, a mode, an option of etcd, ...
  wrong_engine,        // scheme://, a foreign file, or a newer format
  damaged,             // a lockfile whose content makes no sense, while it is in use (otherwise the
                       // next acquire mends it), or the file beside it that keeps its tokens
  too_many_sessions,   // 4,000 are open already
  clock_mismatch,      // in use from another time namespace or another kernel; this process's
                       // monotonic clock is faked; the wall clock is past 2112 (tokens end)
  network_filesystem,  // shared memory does not reach the other hosts
  stuck,               // another process was stopped while setting up the file
  unreachable,         // no server of the engine answers, or they have no majority
};

[[nodiscard]] LOCKBYFILE_EXPORT const std::error_category& lock_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), lock_category()};
}

/// Why a grant was lost.
enum class lost_cause : std::uint8_t {
  none,             // no grant was lost, or the engine cannot know why
  expired,          // its lease ran out before it was renewed
  broken,           // break_lock ended it
  deleted,          // its lockfile, or its key in etcd, was deleted, renamed or replaced
  unreachable,      // the engine's servers have been silent for as long as they kept the grant
  lifeline_closed,  // this process closed the descriptor that keeps the lock alive
};

/// What is known of a failed call.
struct failure {
  std::error_code code;
  std::string message;                  // a whole sentence: what was tried, on what, why it failed
  std::string path;                     // as lock_error::path()
  lost_cause cause = lost_cause::none;  // of lease_lost
  std::optional<party> holder;          // timed_out, would_deadlock, in_use, lease_lost: who
                                        // holds the lock now, if anybody does
  std::chrono::nanoseconds waited{0};   // timed_out, cancelled: counted from the call
  std::size_t waiters = 0;              // timed_out, cancelled: how many others wait now
};

/// The calling thread's last failure that a call of this library reported by a std::error_code or
/// by lock_error. A failure without a code if there was none. The reference is valid until the
/// thread's next call that fails. Each thread has its own, also after fork.
[[nodiscard]] LOCKBYFILE_EXPORT const failure& last_failure() noexcept;

/// An error, and the lockfile that it concerns. what() is a whole sentence: what was tried, on
/// which path (if the error is about one), why it failed.
class LOCKBYFILE_EXPORT lock_error : public std::system_error {
 public:
  lock_error(std::error_code code, const std::string& what, std::string path);
  explicit lock_error(failure what);

  /// details().message.
  [[nodiscard]] const char* what() const noexcept override { return failure_->message.c_str(); }

  /// The lockfile's path, or the name as it was given if there is no path yet. If the error is
  /// about a directory or another file, the path of that.
  [[nodiscard]] const std::string& path() const noexcept { return failure_->path; }

  /// As in struct failure.
  [[nodiscard]] lost_cause cause() const noexcept { return failure_->cause; }
  [[nodiscard]] const std::optional<party>& holder() const noexcept { return failure_->holder; }
  [[nodiscard]] std::chrono::nanoseconds waited() const noexcept { return failure_->waited; }
  [[nodiscard]] std::size_t waiters() const noexcept { return failure_->waiters; }
  [[nodiscard]] const failure& details() const noexcept { return *failure_; }

 private:
  std::shared_ptr<const failure> failure_;
};

}  // namespace v0
}  // namespace lockbyfile

template <>
struct std::is_error_code_enum<lockbyfile::errc> : std::true_type {};
