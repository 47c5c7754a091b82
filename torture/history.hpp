// SPDX-License-Identifier: Apache-2.0
//
// history: the operations of every process of a storm, with their times.
//
// The history is one shared mapping. All processes append operations (`deed`) to it, without a lock
// and without a system call, so that recording hardly changes what is recorded. Each operation is
// recorded in two steps, before it and after it. SIGKILL at any instant leaves the record out, or
// leaves a begin without an end, but never a half-written record. An operation that is not recorded
// was not begun. An operation without an end may have had its effect at any instant until its
// process was gone.
//
// All instants are nanoseconds of CLOCK_MONOTONIC, the same for all processes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <lockbyfile/grant.hpp>
#include <string>
#include <vector>

namespace lockbyfile::torture {

using instant = std::uint64_t;
inline constexpr instant never = std::numeric_limits<instant>::max();

constexpr instant milliseconds(std::uint64_t n) { return n * 1'000'000; }
constexpr instant microseconds(std::uint64_t n) { return n * 1'000; }

/// `t` + `d`, where the longest duration means never.
constexpr instant after(instant t, std::chrono::nanoseconds d) {
  if (d == std::chrono::nanoseconds::max()) return never;
  return t + static_cast<instant>(d.count() < 0 ? 0 : d.count());
}

instant now() noexcept;

enum class deed_kind : std::uint8_t {
  acquire,   // the result is in `error`, `token`, `how`
  ask,       // is_held(): error is 0 or lease_lost
  renew,     //
  release,   // error is `untold` if it was the destructor or unlock()
  keep,      // a keep_alive renews from now on, unrecorded
  end,       // the process ends itself, by _exit, abort or exec
  kill,      // SIGKILL of `process`
  gone,      // `process` is dead since `begin`, and its descriptors are closed
  stop,      // SIGSTOP to SIGCONT of `process`
  breaking,  // break_lock, of the grant `token` or of any
  removing,  // remove, or prune where it removed this name
  mischief,  // with the file; see `mischief_kind`
  wrong,     // a process saw what must never happen; `detail` is a `wrong_kind`
  stall,     // a witness that slept to `begin` woke up at `end`
  fork,      // the process forks
  change,    // of the name's register: `read` was read, then `written` is written, 0 for not
  outage,    // of members of the cluster; see outages.hpp
  revoking,  // a fault of etcd may end any etcd lease meanwhile; see outages.hpp
};
inline constexpr std::size_t deed_kinds = static_cast<std::size_t>(deed_kind::revoking) + 1;

enum class mischief_kind : std::uint8_t {
  replaced,   // deleted, renamed, truncated or replaced: a break, and a new file
  foreign,    // a foreign file stood in its place from begin to end
  scribbled,  // from random bytes until the file was deleted
  chmod,      // without effect on sessions that have it open
};

enum class wrong_kind : std::uint8_t { child_holds, stuck, exception, unusable, fenced_off };

/// In `error`, for a release that does not tell.
inline constexpr int untold = -1;

/// In `error`, for an error that is not one of the lock's own codes.
inline constexpr int other_error = -2;

/// In `error`, for a change that the register refused.
inline constexpr int refused_change = -3;

/// The result of an operation.
struct outcome {
  instant end = 0;  // 0: killed before
  int error = 0;    // lockbyfile::errc, 0 for success
  grant_kind how = grant_kind::free;
  std::uint64_t token = 0;
  // acquire: when the lock was taken, according to the grant; 0 if it was free at once.
  instant taken = 0;
  // acquire, renew, ask: the lease ends between these; never: there is none.
  // acquire, cancelled: the stop was requested between these.
  // stop: the process certainly stood still between these.
  instant from = 0;
  instant to = 0;
  // How long, meanwhile, the kernel kept this thread, ready to run, from running.
  instant delay = 0;
};

struct deed {
  deed_kind kind{};
  std::uint8_t name = 0;    // index into the storm's names
  std::uint8_t detail = 0;  // a mischief_kind or wrong_kind
  std::uint32_t process = 0;
  std::uint32_t session = 0;  // unique; a forked child's copy is another one
  std::uint64_t token = 0;    // breaking: the expected one, 0 for any; change: the grant's
  std::uint64_t read = 0;     // change
  std::uint64_t written = 0;  // change
  std::chrono::nanoseconds lease{0};
  std::chrono::nanoseconds patience{0};
  instant begin = 0;
  // acquire: the session's last look at its file before this operation came after this instant;
  // 0 if it has not opened the file yet.
  instant looked = 0;

  outcome result;

  [[nodiscard]] bool is_finished() const { return result.end != 0; }
  [[nodiscard]] bool succeeded() const { return is_finished() && result.error == 0; }
};

class history {
 public:
  /// Room for `capacity` operations, in memory that is not used before it is needed.
  explicit history(std::size_t capacity);
  /// The history of another program, by its descriptor.
  static history inherited(int fd);
  ~history();
  history(const history&) = delete;
  history& operator=(const history&) = delete;

  /// An operation that has begun and may be finished.
  class open_deed {
   public:
    [[nodiscard]] const deed& get() const { return *deed_; }
    /// Call it at most once. Sets the end to now if `result` has none.
    void finish(outcome result);

   private:
    friend history;
    deed* deed_ = nullptr;
    std::atomic<std::uint32_t>* state_ = nullptr;
  };

  /// Records that `d` begins now, unless it says when it began.
  open_deed begin(deed d);
  /// Records an event that has no duration.
  void note(deed d) { begin(d).finish({}); }

  /// A number that no other session has.
  std::uint32_t new_session() { return shared_->sessions.fetch_add(1) + 1; }

  /// Whether there is no room for much more.
  [[nodiscard]] bool is_nearly_full() const;

  /// Returns all recorded operations, in no particular order, and forgets them. Call it when no
  /// process records any more.
  std::vector<deed> take();

  /// Survives exec, for inherited().
  [[nodiscard]] int descriptor() const { return fd_; }

 private:
  struct entry {
    std::atomic<std::uint32_t> state;  // 0 nothing, then `begun`, `finished`
    deed what;
  };
  struct shared_part {
    std::atomic<std::uint64_t> used;
    std::atomic<std::uint32_t> sessions;
    std::uint64_t capacity;
    entry entries[1];  // and on
  };
  history(int fd, std::size_t bytes);

  int fd_;
  std::size_t bytes_;
  shared_part* shared_;
};

/// A line about `d`, for people.
std::string described(const deed& d);

}  // namespace lockbyfile::torture
