// SPDX-License-Identifier: Apache-2.0
//
// line: the wait queue of a lock, and how the lock passes to the next waiter.
//
// A waiter takes a ticket, publishes it in its slot, looks at the lock once more, and sleeps on its
// slot's own futex word. A release frees the lock and wakes only the waiter with the smallest
// ticket. The lock is handed to nobody: it is free until somebody takes it by compare-exchange. So
// a waiter that dies or stops between being woken and taking leaves a free lock, not a stuck one.
//
// A slot's ticket
//     0            not waiting
//     t            waiting; tickets are handed out in increasing order, never twice
//     t | dozing   waiting, but it left an open lock untaken (it was stopped, most
//                  likely); the others go past it until its owner clears the mark
//
// Invariants
//   (L1) Only its owner sets a ticket. Others change it by compare-exchange on that
//        very ticket: to 0 if its owner's lifeline is gone, to dozing if it was passed
//        over. So nothing they do can hit a later ticket of the slot.
//   (L2) last_to_join is 0 only if nobody is in line, but for waiters that have
//        published their ticket and not yet looked again (L3). A waiter stores its
//        ticket there after publishing it. It is cleared by compare-exchange from the
//        value read before a scan that found no ticket: a waiter that the scan missed
//        has stored another value since, or will. (Storing the larger of both tickets
//        fails: a slow waiter with a small ticket would leave the value as it was.)
//   (L3) No lost wake-up. Waiter: store ticket, store last_to_join, load word.
//        Releaser: write word, load last_to_join. All seq_cst, so one of them sees
//        the other's store: the waiter finds the lock free, or the releaser finds the
//        waiter. (Dekker's pattern: acquire and release alone would let both miss.)
//        A release wakes only if somebody is `wanted`: waiters store that before they load
//        the word, and so does who leaves the line for those that are left; the release
//        that finds it clears it, and wakes the head. So a holder that releases and
//        acquires many times while the head is on its way pays for one wake-up. By the same
//        pattern no wake-up is lost: a waiter that sleeps has stored `wanted` since the
//        last wake-up was sent to the head, or the head is awake and will, or will leave.
//   (L4) A sleep is bounded. Who has p before it looks again after `laziness(p)` at the
//        latest, and earlier if the line moves: after most of the time that its turn
//        should take. Whoever leaves the line, with the lock or without, wakes those for
//        whom it has moved on so far that their next look would come too late (`lateness`
//        of their place by now), and the head if the lease of the lock's holder ends
//        before its look: it may have looked before that grant (hasten). So if a releaser
//        dies between freeing and waking, or the head dies or stops, or a lease ends, the
//        next one finds out by itself. (A waiter's distance from the head in tickets is not
//        its place: if others have left the line between the two, it would be left asleep
//        for all of them.)
//        Mostly there is nobody to wake, and no need to look for them: a place shrinks by
//        one at each of the line's `moves`, so a sleep until u, begun at place p after m
//        moves, is in time as long as u - each * (p + m) <= now + lateness(0) - each * moves.
//        `laziest` is at least the left side of all who sleep for longer than lateness(0):
//        the others are in time at any place. Sleeper: raise `laziest`,
//        load `moves`. Who leaves: raise `moves`, load `laziest` (Dekker, as in L3).
//   (L5) A place counts the tickets ahead that are not dozing. A waiter at place p may
//        take a lock that has been open for p * untaken, if those ahead do not answer: it
//        calls them (wakes them, and marks that in next_look) and goes past only if
//        `grace` after the call (not after the look that led to it: it may have been stopped
//        in between) none of them has looked since. Then it marks them as dozing, so
//        that a stopped process costs its successors that delay once, not at each
//        grant; and it wakes them: nobody else will, and who was late, not stopped, has
//        its place back at once.
//        (To go past them for the time alone fails: they may be asleep, not stopped. The
//        places of all shrink when somebody finds that those before them have died, or
//        they give up; and whoever looks first then finds its turn come, though one
//        before it has not been told. Tests: ScheduleOfASleeper.)
//        Since when the lock is open all agree: whoever opens it, or finds it so, notes it;
//        a newcomer that went first may note it up to a tick of the coarse clock too early.
//
//   (L6) `front` names the head and who comes after it, so that neither the releaser nor the
//        head has to read all tickets on the way from one grant to the next: whoever wakes
//        the head looks for the one after it when that is done. A name is true as long as its
//        ticket waits, since the smallest ticket that is awake stays the smallest: later ones
//        are larger. But a waiter that was stopped between drawing and publishing its ticket,
//        or dozed, comes back before them: it wipes `front` when it finds somebody there whom
//        it comes before, or awakes. Until then one other may go first. A name that is wrong
//        otherwise (the file was scribbled in) costs order, or a look of a waiter whose turn it is
//        not.
//   (L7) Where holds are short, the head stands by: it watches the word instead of sleeping, and
//        takes the lock without being woken. It writes its ticket to `standing_by` first, and a
//        release that finds one there clears it and wakes the one behind, so that the next
//        head is awake by the next release; `wanted` stays as it is. If the ticket is not the
//        head's (it has taken and left, or never was), that release wakes the head, wanted or not.
//        No wake-up is lost by that: who stands by is awake, clears its ticket from
//        `standing_by`, and goes to sleep by way of L3. If its ticket was read by a release
//        before that, it finds the word changed after want(), or has already looked at a later
//        grant, whose release comes after want(); if the word had not changed yet, the release
//        loads `standing_by` after its write to the word, and does not find it.
//        The first of a chain of heads that stand by has nobody who wakes it early, but the
//        holder: who gets the lock without having stood by wakes its successor at once, if
//        somebody is wanted, and if that stands by, its release will not have to.
//        To watch costs a processor for as long as the lock is held, so it is for short holds
//        only, going by the last ones that ended beside a line and of which the exact begin is
//        known (which it is not of a grant that was had at once); it ends after `watch`, and is
//        done once between two sleeps, and once for each grant. Where holders are kept from
//        running, holds are long, and nobody stands by. Nor does the head where the holder runs
//        (`granted_on`): it would be in its way. For very short holds newcomers that go first
//        do better than a line that is awake.
//   (L8) Where holds are very short, the head makes way for newcomers, for as long as they may go
//        first: if the lock has been freed and taken again while it looked, it naps, not
//        `wanted`, so that no release pays for its wake-up and the holder has the word's cache
//        line for itself. Awake it would get the lock sooner, and two processes on two processors
//        that take it from each other at each grant make less than half as many grants. The nap
//        is a sleep that ends by itself, long before the next look is due (L4), and until then
//        it is to others as if the head were slow. It opens the newcomers' millisecond, which
//        else a release does that wakes the head.
//
// usual_hold and granted_on are hints: what is wrong there costs a watch, or saves one.
// last_to_join, laziest and barge_until are hints in one direction each: last_to_join other
// than 0, or a `laziest` that is too large, costs a scan; barge_until is believed only up to
// `barging` ahead of now. A newcomer may go before the line until barge_until, which a releaser
// or the head sets to the head's arrival + 1 ms (promise P7).
//
// Crashes. Killed after taking a ticket, before publishing: the number is never used.
// Killed in line: its lifeline is gone; whoever finds the ticket in its way clears it.
// Killed between freeing and waking, `wanted` cleared or not: (L4). Killed between a grant
// and hasten: the head still looks when it had meant to.
//
// The simpler design that fails: a count of waiters in the header. A killed waiter
// leaves it too high for ever, and every release pays for a scan, or worse.
#pragma once

#include <cstdint>
#include <limits>

#include "core/instant.hpp"
#include "file/lockfile.hpp"

namespace lockbyfile::file {

/// A free lock that the head leaves for this long may be taken by the next. Promise P6
/// allows 25 ms; the rest is for being scheduled.
inline constexpr instant untaken = milliseconds(20);

/// And if it is called then, it has this long to answer (L5).
inline constexpr instant grace = milliseconds(3);

/// In a slot's ticket: it left an open lock untaken.
inline constexpr std::uint64_t dozing = std::uint64_t{1} << 63;

/// In a slot's next_look: called at that instant, and has not looked since (L5).
inline constexpr instant called = instant{1} << 63;

/// Promise P7: how long the head has to wait before newcomers queue behind it.
inline constexpr instant barging = milliseconds(1);

/// Holds that the head watches (L7). To sleep and to be woken takes some 50 us here, and as much
/// again until the next head is awake. A lock that is held for less is free again before it
/// matters.
inline constexpr instant shortest_watched = 1'000;
inline constexpr instant longest_watched = 150'000;

/// And how long it watches at the most.
inline constexpr instant watch = 250'000;

/// How long the head naps (L8). Some 2,000 grants; who sleeps is woken in half of that.
inline constexpr instant nap = 100'000;

class line {
 public:
  explicit line(lockfile& file) noexcept : file_(file) {}

  /// Joins at the end.
  void join(instant now) noexcept;
  /// Gives the place up.
  void leave() noexcept;
  /// Forgets a place that is not ours: after fork, or in a file that we left.
  void forget() noexcept { ticket_ = 0; }
  [[nodiscard]] bool is_in() const noexcept { return ticket_ != 0; }

  /// Tells the others of a look of ours, which is about to begin: clears the dozing mark that
  /// somebody may have set on us, and answers a call (L5).
  void answer(instant now) noexcept;

  /// How many waiters go before this one, or before a newcomer if it is not in line.
  /// Drops a head that has died.
  [[nodiscard]] std::uint32_t place() noexcept;

  /// Whether a newcomer may go before the line now.
  [[nodiscard]] bool may_barge(instant now) const noexcept;

  /// When we have to look again, being at `place` now (L4).
  [[nodiscard]] instant next_look_at(std::uint32_t place, instant now) noexcept;

  /// Says that a release has to wake somebody from now on (L3), us if we are the head (L7).
  void want() noexcept;
  /// Wakes the head, if anybody is wanted.
  void wake_wanted() noexcept;
  /// The same after a release, or calls the next one if the head stands by (L7).
  void pass_on() noexcept;

  /// Whether holds are so short that nobody stands by (L7), and newcomers go first often (L8).
  [[nodiscard]] static bool holds_are_very_short(const header& h) noexcept {
    return h.usual_hold.load(std::memory_order_relaxed) < shortest_watched;
  }
  /// Notes how long a grant was held, for `usual_hold`. By who is about to free the lock.
  static void note_hold(header& h, instant hold) noexcept;
  /// Notes where the holder runs, and wakes the new head to stand by if nobody else will. By who
  /// has left the line with the lock.
  void have_got_it(bool has_stood_by) noexcept;
  /// Watches the word for as long as it is `held`, until woken after `seen` was read from the
  /// own slot's `wake`, or `until`, or for `watch`. False at once if it would not pay (L7).
  bool stand_by(word held, std::uint32_t seen, instant now, instant until) noexcept;

  /// Whether to leave the lock to newcomers for a moment: until when, or 0 for no (L8).
  [[nodiscard]] instant make_way(word held, instant now) noexcept;

  /// Says since when the lock is open, to whoever finds it so. By whoever is about to free
  /// it, before the word becomes `open`, and by whoever finds it open first.
  static void note_opening(header& h, word open, instant now) noexcept;
  /// Since when the lock is open, which `open` says. Notes that it is `now` if nobody has told.
  static instant open_since(header& h, word open, instant now) noexcept;

  /// Calls those ahead who have not been called. How long they have to answer; in the past if
  /// nobody has (L5).
  instant call_those_ahead() noexcept;

  /// Marks those ahead as dozing, after going past them (L5).
  void pass_over() noexcept;

  /// Wakes the head. For whoever has freed the lock or found it open.
  void wake_head() noexcept;

  /// Wakes those whose next look would come too late, after having left the line.
  void hasten(instant now) noexcept;

  /// Wakes everybody, for a look at a file that is being removed.
  void wake_all() noexcept;

  /// Ends the sleep of the waiter in `s`. Any thread.
  static void wake(slot& s) noexcept;
  /// Sleeps until woken after `seen` was read from the own slot's `wake`, or `until`, or not at
  /// all if the line has moved so far that another look is due. False if a signal came first.
  bool sleep(std::uint32_t seen, instant now, instant until) noexcept;

 private:
  struct scan_result;
  /// The first two in line, as `front` has them (L6); 0: not known.
  struct pair {
    pair(std::uint32_t first, std::uint32_t second) noexcept : head(first), next(second) {}
    explicit pair(std::uint64_t bits) noexcept
        : head(static_cast<std::uint32_t>(bits)), next(static_cast<std::uint32_t>(bits >> 32)) {}
    std::uint32_t head;
    std::uint32_t next;
    [[nodiscard]] std::uint64_t bits() const noexcept { return std::uint64_t{next} << 32 | head; }
  };
  [[nodiscard]] slot* waiter_at(std::uint32_t place_mark) const noexcept;
  [[nodiscard]] bool is_behind(std::uint32_t place_mark) const noexcept;
  [[nodiscard]] pair front_after(pair found) const noexcept;
  void foresee(pair front) noexcept;
  /// The line as we saw it last: true as long as nobody has left. Whoever joins comes after us;
  /// or it drew its ticket before ours and published it after our look, and then calls that a
  /// move: a later ticket has been drawn by then.
  struct view {
    std::uint64_t moves = std::numeric_limits<std::uint64_t>::max();  // not seen yet
    std::uint64_t head = 0;                                           // ticket
    std::uint32_t head_slot = 0;
    std::uint32_t place = 0;
  };
  [[nodiscard]] bool is_ahead(std::uint64_t ticket) const noexcept;
  [[nodiscard]] bool is_true(const view& v) const noexcept;
  void drop(slot& s, std::uint64_t ticket) noexcept;
  void have_moved() noexcept { file_.get().header.moves.fetch_add(1); }
  void stop_standing_by() noexcept;
  [[nodiscard]] scan_result scan() const noexcept;
  void clear_hint(std::uint64_t seen) noexcept;

  lockfile& file_;
  std::uint64_t ticket_ = 0;
  view seen_;
  instant slept_at_ = 0;           // when we last decided how long to sleep; 0: not yet
  std::uint32_t slept_place_ = 0;  // and where
};

}  // namespace lockbyfile::file
