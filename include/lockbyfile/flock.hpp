// SPDX-License-Identifier: Apache-2.0
//
// FLock: the API of Andreas Krueger's lockbyfile.py and lockbydir.py (2015), so that old code ports
// line by line. Each function says how it differs from 2015. The unsafe parts of 2015 are not here
// (docs/guarantees.md).
//
//   FLock L("LOCKNAME");                              // A: instantiate, with name
//   if (L.LoopWhileLocked_ThenLocking()) {            // B: wait, then lock
//     use_the_scarce_resource();                      // C: for TIMEOUT at most
//     L.unlocking();                                  // D: free for the next
//   }
//
// TIMEOUT is stored in the lock: waiters obey the holder's, not their own. A TIMEOUT that is set
// while this object holds the lock counts too. This object writes it to the lock at its next call
// that asks about the lock, or when it unlocks. An FLock that is destroyed, or whose process ends,
// opens the lock at once.
//
// The lockfile is the name with ".lockfile" appended, unless the name ends so already. That holds
// for paths too: FLock("/srv/db.sqlite3") never touches the database.
//
// Only for locks in files: a name of another engine is refused (wrong_engine).
// Threads and fork: as named_lock. Durations are in seconds; infinity is forever. A TIMEOUT that is
// not above zero or is NaN, and a PATIENCE that is NaN, throw lock_error (invalid_option) when they
// are used.
#pragma once

#include <lockbyfile/export.hpp>
#include <memory>
#include <optional>
#include <string>

namespace lockbyfile {
inline namespace v0 {

class LOCKBYFILE_EXPORT FLock {
 public:
  /// Throws lock_error as named_lock does. Creates no lockfile yet.
  explicit FLock(const std::string& name);
  virtual ~FLock();
  FLock(FLock&&) noexcept;
  FLock& operator=(FLock&&) noexcept;
  FLock(const FLock&) = delete;
  FLock& operator=(const FLock&) = delete;

  double TIMEOUT = 10;   // seconds after which the lock opens by itself
  double PATIENCE = 30;  // seconds after which a waiter gives up

  /// Waits for the lock, at most PATIENCE seconds. True: acquired. False at once if this
  /// object holds it already.
  /// Waiters are served in order of arrival. A release wakes them.
  [[nodiscard]] bool LoopWhileLocked_ThenLocking();

  /// Opens the lock. True only if this object was the rightful holder and in time.
  bool unlocking();

  /// Tries to lock, without waiting. False also if this object holds it already.
  [[nodiscard]] bool locking();

  /// Whether anybody, this object included, holds the lock in time.
  [[nodiscard]] bool isLocked() const;

  /// Waits while the lock is locked, at most PATIENCE seconds, taking nothing.
  /// True if it had to wait, false if the lock was open anyway.
  bool loopWhileLocked() const;

  /// Whether there is a grant that nobody gave back: held, timed out or abandoned.
  /// (In 2015: whether the lockfile exists. Here the file stays.)
  [[nodiscard]] bool exists() const;

  /// Seconds since that grant; -1 if there is none.
  [[nodiscard]] double age() const;

  /// Whether that grant has outlived its lease (or its holder). False if none.
  [[nodiscard]] bool timedOut() const;

  /// The same as isLocked(): 2015 had both, since its isLocked() removed the lockfile.
  [[nodiscard]] bool existsAndNotTimedOut() const;

  /// Forces the lock open, no matter which process holds it. True if there was something to break.
  bool breakLock();

  /// Forces the lock open if its grant has timed out. Breaks only that grant, even if another grant
  /// comes meanwhile.
  void removeIfTimedOut();

  /// The lockfile's path.
  [[nodiscard]] const std::string& filename() const;

  /// The lockfile: the name with its extension. It is filename() if the name with its extension
  /// leads elsewhere, as after a chdir, or with $LOCKBYFILE_DIR.
  [[nodiscard]] std::string fn() const;
  [[nodiscard]] std::string dirname() const { return fn(); }

  /// The name as it was given.
  [[nodiscard]] const std::string& name() const;

  /// Notes the time for stillPatience(), unless it was noted since the last locking.
  void startWaiting();

  /// Whether PATIENCE seconds have not passed since this object began to wait.
  [[nodiscard]] bool stillPatience() const;

  /// When this object locked, and when it began to wait, in seconds since 1970. None if it holds
  /// nothing, or does not wait.
  [[nodiscard]] std::optional<double> lockingTime() const;
  [[nodiscard]] std::optional<double> startedWaitingTime() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace v0
}  // namespace lockbyfile
