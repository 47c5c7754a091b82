// SPDX-License-Identifier: Apache-2.0
//
// observe: who holds a lock, who waits, who had it. It takes nothing, creates nothing, disturbs
// nobody, and needs only permission to read.
#pragma once

#include <chrono>
#include <cstdint>
#include <lockbyfile/error.hpp>
#include <lockbyfile/export.hpp>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/options.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lockbyfile {
inline namespace v0 {

struct holder_info {
  party who;
  fencing_token token;  // zero: not known yet (only in etcd, see docs/etcd.md)
  std::chrono::system_clock::time_point since;  // of this grant
  std::chrono::nanoseconds lease{0};            // as granted or last renewed; no_lease
  std::chrono::nanoseconds lease_left{0};       // zero: expired; no_lease: unlimited
  std::int64_t lifeline = -1;  // byte of the lockfile that its open-file-description lock is on;
                               // -1 in engines on servers
  bool alive = false;          // its lifeline is held; false: the next acquire takes the lock over
};

struct waiter_info {
  party who;
  std::chrono::nanoseconds waiting{0};
};

struct grant_info {
  party who;
  fencing_token token;
  grant_kind how = grant_kind::free;
  std::chrono::system_clock::time_point since;
};

/// A forced opening.
struct break_info {
  fencing_token token;  // of the grant that it ended
  party by;
  std::chrono::system_clock::time_point at;
};

/// How the work done under a grant ended, as its holder reported it by named_lock::note_run.
struct run_info {
  fencing_token token;  // of that grant
  std::chrono::nanoseconds duration{0};
  int exit_code = 0;
  std::chrono::system_clock::time_point ended;
};

/// A lock at one instant.
struct lock_state {
  std::string path;
  std::optional<holder_info> holder;  // none: the lock is free
  std::vector<waiter_info> waiters;   // the first waiter first
  std::vector<grant_info> grants;     // the last one of each session; the last eight, newest first
  std::optional<break_info> last_break;
  std::optional<run_info> last_run;

  /// Whether acquire would succeed at once if nobody waited. True if nobody holds the lock, its
  /// holder has died, or its holder's lease has run out.
  [[nodiscard]] bool is_open() const noexcept {
    return !holder || !holder->alive || holder->lease_left <= std::chrono::nanoseconds(0);
  }
};

/// Looks at the lock called `name`. Of `options`, only `directory`, `on_truncation` and `etcd`
/// matter. Errors: not_found, and those of opening a named_lock. Does not block. Except: in etcd it
/// exchanges messages with a server, and waits up to 200 ms for a holder to write its token.
[[nodiscard]] LOCKBYFILE_EXPORT lock_state observe(std::string_view name,
                                                   const lock_options& options = {});
[[nodiscard]] LOCKBYFILE_EXPORT std::optional<lock_state> observe(std::string_view name,
                                                                  const lock_options& options,
                                                                  std::error_code& ec);

/// Which files list() and prune() look at. They open and close each file. A process that closes any
/// descriptor of a file loses its own POSIX locks (F_SETLK, lockf) on that file; SQLite uses such
/// locks.
enum class which_names {
  with_suffix,  // *.lockfile only
  all,          // every file; for a process that has no such locks, as the command
};

/// The paths of all lockfiles *.lockfile in `directory`, or of those of any name, sorted. Other
/// files are skipped. Except: a file called *.lockfile that may not be read is listed, and
/// observe() then says why. Throws lock_error with the system's error if the directory cannot be
/// read.
[[nodiscard]] LOCKBYFILE_EXPORT std::vector<std::string> list(const std::string& directory);
[[nodiscard]] LOCKBYFILE_EXPORT std::vector<std::string> list(const std::string& directory,
                                                              which_names which);

}  // namespace v0
}  // namespace lockbyfile
