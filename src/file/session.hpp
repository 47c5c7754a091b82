// SPDX-License-Identifier: Apache-2.0
//
// file_session: the engine's session on one lockfile. Grant, renew, release are here; looking and
// waiting are in acquire.cpp.
//
// What a grant is. The word names our slot (word.hpp). Our slot holds the deadline and the token of
// the grant before the compare-exchange that makes the word name the slot. So there is no instant
// at which the lock is held without them. If the compare-exchange fails, the values are in a slot
// that nobody looks at.
//
//   (S1) `current_` is a word that our last grant or renewal wrote, 0 before the first grant and
//        after release. We hold the lock while the word is ours (S9) and the deadline has not
//        passed. No other process can make the word equal to one of ours again (W2).
//   (S2) Renew: new deadline, then word -> renewed. A takeover that read the old deadline fails,
//        because it compares the word that it saw first. A renewal that comes after a takeover
//        fails likewise, and nobody looks at the deadline that it wrote.
//   (S3) Takeover: word, the holder's deadline and lifeline, then compare-exchange from that word.
//        Success proves that the word named that holder all the while (W2).
//   (S4) Release frees the word, then wakes the first waiter. A crash between the two is made good
//        by the first waiter's own look (line.hpp, L4).
//
// A crash before the compare-exchange leaves nothing. A crash after it leaves a holder without a
// lifeline, and the next look takes the lock over.
//
// The path is compared with the file at most once a millisecond of the coarse clock, which ticks
// every 1 to 10 ms. A lockfile that was deleted, renamed or replaced is a broken lock. By this
// comparison its holder and its users learn of it.
//
//   (S5) A session that opens the path's next file takes its tokens along: it raises the new
//        counter above the highest one it has seen. Not if somebody holds the lock there: then it
//        skips the numbers in between when it comes to take the lock.
//
//   (S6) A program that closes all its descriptors loses its lifeline, and another session may
//        claim its slot. The first session then finds its own number gone from the slot before it
//        takes the word, and attaches anew.
//
//   (S7) A token above the clock is handed out only if the path still leads to our file after the
//        mark has been raised. So the creator of the path's next file finds that mark and starts
//        above it. In the other order two files can hand out the same token, if ours is replaced
//        while the mark is raised: both start at the old mark.
//
//   (S8) Deleting the file is a break, too: the first grant of the path's next file is *broken* if
//        the old file had a holder. A session that leaves the old file knows by the old word
//        whether it had. Either the word was held by a live holder in time. Or it was already
//        marked as broken, by an operator or by a holder whose release found the path gone. The
//        session marks the new word by compare-exchange, only while that word has had no grant
//        (first_counter). A deletion is reported once: the first session that leaves sets
//        deletion_told. Without it, a session that leaves much later, when the next file has come
//        and gone, would mark the third. The grant is *free* all the same in five cases:
//          - No session had the old file open.
//          - A newcomer was granted the new file before.
//          - The holder released without having noticed.
//          - The reporting session dies on the way.
//          - The file was moved back to its path and is deleted a second time.
//        A later file is marked in two cases:
//          - The reporting session is stopped on the way.
//          - Only newcomers used the next file.
//
//   (S9) Our grant is named by our slot and its token, not by a word. Any thread may renew the
//        grant, and each renewal writes another word. The word names our slot and the slot has our
//        token only while the grant is ours. The reason: only we write our slot's token, before the
//        word names the slot for the grant. A session that claimed the slot behind our back (S6)
//        wrote another token. So a look by another thread never misses a renewal that is under way;
//        the comparison with `current_` did. A renewal or release that finds the word changed goes
//        on from the new word as long as that is ours by this rule.
//
//   (S10) A mapping that the system can neither read nor write reads as zeros, and the file may be
//         as it was. Its holder keeps the lock: is_held reads the file, and renew maps it again or
//         reports the system's error. A release that cannot write gives up the lifeline instead of
//         the word, which makes the lock abandoned. Waiters get the system's error.
//
//   (S11) Renew and release act on one grant, which the caller names by its token. A thread may be
//         kept from running in either of them. Meanwhile its grant may be lost and another thread
//         of the same object be granted the lock. So `current_` is taken by compare-exchange, and
//         we may free the word only while our slot has that token (S9).
//
// fork: the child's copy carries the parent's epoch. It holds nothing, its lifeline was closed, and
// acquire attaches anew.
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
  /// What a word says when the lock can be taken.
  struct opening {
    instant since = 0;  // since when it has been open
    grant_kind how = grant_kind::free;
    std::optional<party> previous = std::nullopt;
  };
  enum class outlook { granted, wait, reopen };
  struct waiting;
  class acquiring;

  enum class lost_by : std::uint8_t { none, time, path, word };  // how a loss was noticed

  void attach(const std::optional<break_info>& deletion = {});
  void renew_once(std::error_code& ec) noexcept;
  /// Whether this is the process that attached. A child's copy holds nothing.
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
  /// A word that is free; otherwise one that is no state.
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

  std::atomic<std::uint64_t> acquiring_{0};  // epoch of the process that acquires, or did when
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
  instant exact_begin_ = 0;                     // of the last grant with an exact begin
  bool went_first_ = false;                     // before the waiters, with that grant
  std::uint64_t floor_ = 0;                     // (S5) highest counter in the files before this one
};

/// The owner that a slot names.
party described(const shared<std::uint32_t>& pid, const shared<std::uint32_t>& user,
                const shared<std::uint64_t>* command, std::size_t words);

}  // namespace lockbyfile::file
