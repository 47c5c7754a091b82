// SPDX-License-Identifier: Apache-2.0
//
// file_session: the engine's session on one lockfile. Grant, renew, release here;
// looking and waiting in acquire.cpp.
//
// What a grant is. The word names our slot (word.hpp). Before the compare-exchange
// that makes it do so, our slot holds the deadline and the token of the grant, so
// there is no instant at which the lock is held without them. If the
// compare-exchange fails, what we wrote is in a slot that nobody looks at.
//
//   (S1) `current_` is a word that our last grant or renewal wrote, 0 before the
//        first grant and after release. We hold the lock while the word is ours (S9) and
//        the deadline has not passed. No other process can make the word equal to one of
//        ours again (W2).
//   (S2) Renew: new deadline, then word -> renewed. A takeover that read the old
//        deadline fails, since it compares the word it saw first. A renewal that comes
//        after a takeover fails likewise, and the deadline it wrote is not looked at.
//   (S3) Takeover: word, the holder's deadline and lifeline, then compare-exchange from
//        that word. Success proves that it named that holder all the while (W2).
//   (S4) Release frees the word, then wakes the head of the line. A crash between the
//        two is made good by the head's own look (line.hpp, L4).
//
// A crash leaves, before the compare-exchange, nothing; after it, a holder without a
// lifeline, which the next look takes over.
//
// The path is compared with the file at most once a millisecond of the coarse clock,
// which ticks every 1 to 10 ms: a lockfile that was deleted, renamed or replaced is a
// broken lock, and this is how its holder and its users learn of it.
//
//   (S5) A session that opens the path's next file takes its tokens along: it raises the
//        new counter above the highest one it has seen. Not if somebody holds the lock
//        there: then it skips the numbers in between when it comes to take it.
//
//   (S6) A program that closes all its descriptors loses its lifeline, and another session
//        may claim its slot. It finds its own number gone from the slot before it takes
//        the word, and attaches anew.
//
//   (S7) A token above the clock is handed out only if the path still leads to our file
//        after the mark has been raised. So whoever makes the path's next file finds that
//        mark and starts above it. In the other order two files can hand out the same
//        token, if ours is replaced while the mark is raised: both start at the old mark.
//
//   (S8) Deleting the file is a break, too: the first grant of the path's next file is *broken* if
//        the old file had a holder. A session that leaves the old file knows whether it had, by the
//        old word: held by a live holder in time, or already marked as broken, by an operator or by
//        a holder whose release found the path gone. It marks the new word by compare-exchange,
//        only while that has had no grant (first_counter). A deletion is told once: the first
//        session that leaves sets deletion_told. Without it a session that leaves much later, when
//        the next file has come and gone, would mark the third one. The grant is *free* all the
//        same if no session had the old file open, if a newcomer was granted the new one before, if
//        the holder released without having noticed, if the session that tells dies on the way, or
//        if the file was moved back to its path and is deleted a second time. A later file is
//        marked if the session that tells is stopped on the way, or if only newcomers used the
//        next one.
//
//   (S9) Our grant is named by our slot and its token, not by a word: any thread may renew it, and
//        each renewal writes another word. The word names our slot and the slot has our token
//        only while the grant is ours: only we write our slot's token, before the word names the
//        slot for the grant, and a session that claimed the slot behind our back (S6) wrote
//        another. So a look by another thread never misses a renewal that is under way, which the
//        comparison with `current_` did. A renewal or release that finds the word changed goes on
//        from the new word as long as it is ours by this rule.
//
//   (S10) A mapping that the system can neither read nor write reads as zeros, and the file may be
//         as it was. Its holder keeps the lock: is_held reads the file, renew maps it again or says
//         what the system says. A release that cannot write gives up the lifeline instead of
//         the word, which makes the lock abandoned. Whoever waits is told the system's error.
//
//   (S11) Renew and release act on one grant, which they are told by its token. A thread may be
//         kept from running in either of them while its grant is lost and another thread of the
//         same object is granted the lock. So `current_` is taken by compare-exchange, and the
//         word is ours to be freed only while our slot has that token (S9).
//
// fork: the child's copy carries the parent's epoch. It holds nothing, its lifeline
// was closed, and acquire attaches anew.
#pragma once

#include <array>
#include <functional>
#include <lockbyfile/observe.hpp>

#include "core/engine.hpp"
#include "file/line.hpp"
#include "file/lockfile.hpp"
#include "linux/process_epoch.hpp"

namespace lockbyfile::file {

inline constexpr instant path_check_interval = milliseconds(1);

class file_session final : public session {
 public:
  file_session(const std::string& path, const lock_options& options);
  ~file_session() override;

  std::optional<grant> acquire(instant deadline, const std::stop_token& stop,
                               std::error_code& ec) override;
  void renew(fencing_token of, std::error_code& ec) override;
  void release(fencing_token of, std::error_code& ec) noexcept override;
  fencing_token acquire_at_once() noexcept override;
  void release_quietly(fencing_token of) noexcept override;
  void set_lease(std::chrono::nanoseconds lease) noexcept override;
  void note_run(std::chrono::nanoseconds duration, int exit_code) noexcept override;
  [[nodiscard]] loss why_lost() const override;
  [[nodiscard]] surroundings look_around() const override;
  [[nodiscard]] std::optional<surroundings> look_inside() const override;

  [[nodiscard]] std::chrono::nanoseconds lease() const noexcept override;
  [[nodiscard]] std::chrono::nanoseconds lease_remaining() const noexcept override;
  [[nodiscard]] bool is_held() const noexcept override;
  [[nodiscard]] fencing_token token() const noexcept override;
  [[nodiscard]] const std::string& path() const noexcept override { return file_.path(); }
  [[nodiscard]] int lifeline() const noexcept override;

 private:
  /// What a word says that can be taken.
  struct opening {
    instant since = 0;  // how long it has been open
    grant_kind how = grant_kind::free;
    std::optional<party> previous = std::nullopt;
  };
  enum class outlook { granted, wait, reopen };
  struct waiting;
  class acquiring;

  enum class lost_by : std::uint8_t { none, time, path, word };  // how a loss was noticed

  void attach(const std::optional<break_info>& deletion = {});
  void renew_once(std::error_code& ec) noexcept;
  /// That attached; not a child of it, whose copy holds nothing.
  [[nodiscard]] bool is_this_process() const noexcept {
    return epoch_.load(std::memory_order_relaxed) == process_epoch();
  }
  [[nodiscard]] bool is_named() const noexcept;
  [[nodiscard]] bool holds() const noexcept;
  [[nodiscard]] bool owns_slot() const noexcept;
  [[nodiscard]] bool is_ours(word seen) const noexcept {
    return is_ours(seen, token_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] bool is_ours(word seen, std::uint64_t token) const noexcept;
  [[nodiscard]] std::optional<break_info> broken_by_deletion() const;
  void begin_above(const std::optional<break_info>& deletion) noexcept;
  [[nodiscard]] bool is_in_time() const noexcept;
  [[nodiscard]] bool path_is_current(instant coarse_now) const noexcept;

  std::optional<grant> acquire_slowly(instant deadline, const std::stop_token& stop,
                                      std::error_code& ec);
  outlook look(waiting& w, grant& result);
  void rest(waiting& w, std::uint32_t seen);
  std::optional<opening> find_opening(word seen, waiting& w);
  [[nodiscard]] std::uint64_t token_of(word held) const noexcept;
  void join(instant now, grant& result) noexcept;
  void reopen();
  [[nodiscard]] std::uint64_t last_before(word seen) const noexcept;
  [[nodiscard]] bool has_token_after(word seen);
  /// A word that is free; else one that is none.
  [[nodiscard]] word word_to_take(std::uint64_t process) const noexcept;
  bool go_first(instant coarse_now) noexcept;
  bool take_at_once(std::uint64_t process, instant coarse_now, instant start) noexcept;
  [[nodiscard]] bool may_go_first() const noexcept;
  bool take(word seen, instant start, std::chrono::nanoseconds lease, grant_kind how) noexcept;
  void note_release(word held) noexcept;
  enum class ending { released, broken };
  bool free_and_wake(std::uint64_t token, ending how) noexcept;
  bool forget(std::uint64_t token, std::uint64_t& held) noexcept;
  void note_deletion() noexcept;
  void lose(lost_by how, std::error_code& ec) noexcept;
  bool release_unusable(std::uint64_t token) noexcept;

  lockfile file_;
  line line_;
  std::array<std::uint64_t, 6> command_{};
  std::atomic<std::chrono::nanoseconds> lease_;
  const std::function<bool()> gives_up_;
  const lock_options as_observer_;

  std::atomic<std::uint64_t> acquiring_{0};  // epoch of the process that is at it, or was when
                                             // it forked
  std::atomic<std::uint64_t> epoch_{0};      // of the process that attached
  std::atomic<std::uint64_t> current_{0};    // (S1)
  std::atomic<std::uint64_t> token_{0};
  std::atomic<lost_by> lost_by_{lost_by::none};  // of the last grant
  std::atomic<instant> deadline_{0};
  mutable std::atomic<instant> next_check_{0};  // of the path, on the coarse clock
  std::uint32_t session_ = 0;                   // as in our slot (S6)
  std::uint64_t ceiling_ = 0;                   // of tokens (tokens.hpp)
  std::uint64_t highest_seen_ = 1;              // counter; a smaller one is damage
  instant exact_begin_ = 0;                     // of the last grant whose begin was told exactly
  bool went_first_ = false;                     // before a line, with that grant
  std::uint64_t floor_ = 0;                     // (S5) what it was in the files before this one
};

/// Who a slot says its owner is.
party described(const shared<std::uint32_t>& pid, const shared<std::uint32_t>& user,
                const shared<std::uint64_t>* command, std::size_t words);

}  // namespace lockbyfile::file
