// SPDX-License-Identifier: Apache-2.0
//
// etcd_session: the engine's session on one lock. Renewing and releasing are in session.cpp,
// waiting is in acquire.cpp, and the work behind the user's back is in keeper.cpp.
//
// Two things are called lease. The *etcd lease* is the session's sign of life. It is granted for
// TTL seconds, and the keeper's thread keeps it alive every TTL/3. When it ends, etcd removes our
// place. The *lease* of a grant is the user's: how long the grant lasts unless renewed.
//
//   (E1) A grant is good until the earlier of two instants. One is its own deadline, counted from
//        before the Txn that made or renewed it was sent. The other is `good_until` of the etcd
//        lease. That is the instant of SENDING the last keep-alive that was answered, plus the TTL
//        that etcd granted, minus a twentieth. The server counts from when it got that message, so
//        it ends the lease later. A process that was stopped finds itself past that instant when it
//        goes on: is_held() asks the clock.
//   (E2) When a lease runs out, the keeper opens the lock. It removes the place if somebody waits,
//        and marks it as expired if nobody does. Then the holder may still renew, and the first
//        session that comes may take the place away (line.hpp): one Txn decides. If the process is
//        stopped, the end of its etcd lease opens the lock. Hence the requested TTL is never longer
//        than the lease, rounded up to whole seconds. (etcd has a shortest TTL: 2 s with its
//        defaults.)
//   (E3) The etcd lease is reused over acquisitions. It is given up in two cases. It may not be
//        known which keys hang on it (an answer got lost and the time was up). Or the next grant
//        needs a shorter one. Then the keeper revokes it, or stops keeping it alive, which has the
//        same effect a TTL later.
//   (E4) A grant that lasts is watched, because somebody may break it. The watch starts 100 ms
//        after the grant, because most do not last that long. It covers events from the revision of
//        the grant on. A watch can be late or lose an event, so the keeper also looks at the place
//        after every keep-alive. The watch moves when calls go to another member.
//
// Threads: `mutex_` guards all data that the user's threads and the keeper's share. It is never
// held over a call of etcd. `turn_` is held over the calls that change a grant (renew, release,
// expire), so that the keeper does not expire a grant that is just being renewed.
//
// A crash leaves our place until etcd ends the lease: at most TTL after the last keep-alive, plus
// half a second, because etcd looks every half second.
//
// fork: a session belongs to one process. Its wrapper (core/module_session.hpp) keeps it from the
// child.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/engine.hpp"
#include "etcd/client.hpp"
#include "etcd/line.hpp"
#include "etcd/watch.hpp"

namespace lockbyfile::etcd {

class etcd_session final : public session {
 public:
  etcd_session(const address& where, const lock_options& options);
  ~etcd_session() override;

  std::optional<grant> acquire(instant deadline, const std::stop_token& stop,
                               std::error_code& ec) override;
  void renew(fencing_token of, std::error_code& ec) override;
  void release(fencing_token of, std::error_code& ec) noexcept override;
  void set_lease(std::chrono::nanoseconds lease) noexcept override;
  void when_lost(std::function<void()> tell) override;
  void note_run(std::chrono::nanoseconds duration, int exit_code) noexcept override;
  [[nodiscard]] loss why_lost() const override;

  [[nodiscard]] std::chrono::nanoseconds lease() const noexcept override;
  [[nodiscard]] std::chrono::nanoseconds lease_remaining() const noexcept override;
  [[nodiscard]] std::chrono::nanoseconds certain_for() const noexcept override;
  [[nodiscard]] bool is_held() const noexcept override;
  [[nodiscard]] fencing_token token() const noexcept override;
  [[nodiscard]] const std::string& path() const noexcept override { return path_; }

 private:
  struct etcd_lease {
    std::int64_t id = 0;  // 0: none
    unsigned asked = 0;   // seconds
    instant ttl = 0;      // as etcd granted it
    instant good_until = 0;
    instant next_beat = 0;

    /// etcd has answered what was sent at `sent` (E1).
    void heard(instant sent, std::int64_t ttl_seconds) {
      ttl = seconds(static_cast<std::uint64_t>(ttl_seconds));
      good_until = sent + ttl - ttl / 20;
      next_beat = sent + ttl / 3;
    }
  };
  struct holding {
    std::int64_t created = 0;       // of our place; 0: we hold nothing
    std::int64_t lease = 0;         // etcd's
    entry what;                     // as written there
    history before;                 // what the record has to keep
    std::optional<record> to_tell;  // the record of a break that was reported to us
    instant since = 0;
    instant deadline = 0;
    bool is_lost = false;
    bool is_shown = false;     // our place shows that it is granted, and its token
    bool is_expiring = false;  // the keeper has handled the end of its lease
  };
  class waiting;

  void open(instant deadline);
  [[nodiscard]] instant silence_at_start() const;

  // acquire.cpp
  void clear_old_grant();
  std::optional<grant> acquire_alone(instant deadline, const std::stop_token& stop,
                                     std::error_code& ec);
  std::int64_t lease_for(std::chrono::nanoseconds lease, instant deadline);
  entry entry_for(std::chrono::nanoseconds lease) const;
  void take(const standing& found, std::int64_t lease, std::chrono::nanoseconds asked,
            const entry& what, instant sent);
  void give_up_lease(std::int64_t lease);

  // keeper.cpp
  void start_keeper();
  void keep();
  void beat(std::unique_lock<std::mutex>& guard);
  void show(std::unique_lock<std::mutex>& guard);
  void expire(std::unique_lock<std::mutex>& guard);
  void revoke(std::unique_lock<std::mutex>& guard);
  std::int64_t look_at_place(const holding& h);
  void watch_grant(std::unique_lock<std::mutex>& guard);
  [[nodiscard]] instant next_deed() const;
  void rest(std::unique_lock<std::mutex>& guard, instant until);
  void wake_keeper_for(instant deed);
  void leave_to_keeper(std::unique_ptr<watch> ended);
  void lose(std::int64_t created);
  void have_lost();
  void note_loss(const holding& h, lost_cause cause);
  [[nodiscard]] lost_cause cause_by_clocks(const holding& h, instant at) const;
  [[nodiscard]] record record_of(const holding& h, ending end) const;
  void revoke_now(instant limit);
  holding forget_grant();

  [[nodiscard]] bool is_good(instant at) const;
  void end_grant(fencing_token of, std::error_code& ec);

  /// Tried until etcd says that the lease is gone. Servers that restart begin its TTL anew, so no
  /// clock of ours shows when it has ended by itself.
  struct revocation {
    std::int64_t lease = 0;
    instant next_try = 0;
    instant pause = 0;  // after the next failure
  };

  /// The last loss, as far as it is known without asking.
  struct known_loss {
    lost_cause cause = lost_cause::none;
    std::int64_t created = 0;
  };

  const address where_;
  const std::string path_;
  const std::string description_;
  const std::function<bool()> gives_up_;
  mutable client client_;
  mutable line line_;

  std::mutex turn_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;       // for the threads that wait for the lock
  std::condition_variable keeper_wakes_;  // for the keeper
  instant rests_until_ = 0;               // 0: it is at work
  std::chrono::nanoseconds asked_lease_;
  etcd_lease lease_;
  holding grant_;
  std::function<void()> tell_lost_;
  std::uint64_t token_ = 0;
  known_loss lost_;
  bool is_acquiring_ = false;
  bool was_free_ = false;  // the lock, at our last grant (A5)
  bool is_ending_ = false;
  instant leaving_since_ = 0;  // a release that got no answer began then
  std::vector<revocation> revocations_;
  std::vector<std::unique_ptr<watch>> ended_watches_;
  std::unique_ptr<watch> grant_watch_;
  std::int64_t watched_ = 0;  // the grant that it is for
  bool is_watch_broken_ = false;
  std::thread keeper_;
};

inline constexpr instant before_watching = milliseconds(100);  // (E4)
inline constexpr instant before_showing = milliseconds(20);    // (E6)

/// Servers that do not answer are asked again after about this time. Not all clients at once.
inline constexpr instant between_tries = milliseconds(100);
instant some_of(instant pause);  // between a half of it and one and a half
inline void rest_between_tries() {
  std::this_thread::sleep_for(between(0, some_of(between_tries)));
}

/// How long a session that ends tries to leave nothing in etcd. A release that got no answer counts
/// towards this time, except for `to_end_after_release`.
inline constexpr instant to_end = seconds(3);
inline constexpr instant to_end_after_release = seconds(1);

/// How long servers may be silent before they count as unreachable, if we have no place yet and
/// patience lasts. Hundreds of processes that start at once may need longer than a TTL until
/// the last is connected (docs/performance.md).
inline constexpr instant telling_silence_at_start = seconds(30);

/// The instant at which a call for something that ends at `deadline` is given up.
inline instant call_limit(instant deadline) {
  const instant begun = now();
  if (deadline <= begun) return begun + seconds(1);  // tries once
  return std::min(deadline, begun + longest_call);
}

}  // namespace lockbyfile::etcd
