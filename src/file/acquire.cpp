// SPDX-License-Identifier: Apache-2.0
//
// How a session waits: look, and if it is not our turn, sleep until something
// changes or the next look is due.
//
// A look finds one of these:
//
//   | the word                  | may be taken since | how
//   | --------------------------+--------------------+---------------------------------
//   | free                      | it was freed       | free
//   | free, broken              | it was freed       | broken
//   | held, no lifeline         | we noticed         | abandoned
//   | held, deadline passed     | the deadline       | expired
//   | held otherwise            | -                  |
//   | tombstone, or damaged: no | -                  | open the path again, which mends
//   | state at all, or less     |                    | it or reports why it cannot
//   | than we saw before        |                    |
//
// The session takes an opening at once in three cases:
//   - Nobody is ahead (line.hpp, L5).
//   - The lock is free and newcomers may go first.
//   - The waiters ahead have left the lock untaken for too long.
//
// (A1) Read the word, then the holder's slot and lifeline, then compare-exchange from that same
//      word
//      (S3). If it succeeds, the values read belonged to that word, since a word never returns. If
//      it fails, we look again.
// (A2) The session reads its own futex word before the look. The sleep starts only if that word is
//      unchanged, so a wake-up between look and sleep is not lost. Nor is a release lost that found
//      nobody wanted: the word is compared once more after want() (line.hpp, L3). A waiter that
//      only naps asks nobody to wake it (L8).
// (A3) After a sleep the session looks at the lock before the clock and the stop request. A grant
//      that arrives together with them is returned.
// (A4) A waiter that gives up may have swallowed a wake-up, so it passes the wake-up on.
// (A5) Somebody may copy other data over the file in place. The mapping then shows foreign data. So
//      a waiter looks for the signature before each run of writes: before it joins, answers or
//      leaves the wait queue, and before it stores `wanted`. Every other writer first compares with
//      a value that no foreign data has: a word, a ticket, a session's number.
//      A gap remains: the instructions between the look at the signature and the last write after
//      it, a microsecond. If the data is copied in that gap, a few bytes of it change. The gap
//      grows if the waiter is kept from running in it. No order of looks can close the gap: memory
//      has no write that depends on another word.

#include <algorithm>

#include "file/point.hpp"
#include "file/session.hpp"
#include "linux/process_epoch.hpp"
#include "linux/uncancelled.hpp"

namespace lockbyfile::file {

namespace {

constexpr instant question_interval = milliseconds(100);
constexpr unsigned most_reopened = 8;

}  // namespace

/// What a waiter knows between its looks.
struct file_session::waiting {
  instant deadline = 0;
  instant now = 0;            // of this look
  instant next_look = 0;      // as this look finds it
  instant next_question = 0;  // when to ask next whether to give up
  unsigned reopened = 0;
  bool has_given_up = false;
  bool has_stood_by = false;  // since it slept
  std::uint64_t watched = 0;  // the token of the grant that it stood by for last
  word seen;                  // by this look
};

std::optional<grant> file_session::acquire_slowly(instant deadline, const std::stop_token& stop,
                                                  std::error_code& ec) {
  const uncancelled us;
  waiting w;
  w.deadline = deadline;
  const instant begun = now();
  w.next_question = gives_up_ ? begun + question_interval : never;
  grant result;

  const std::stop_callback wake_up(stop, [this] {
    if (const std::uint32_t own = file_.own_slot(); own < slot_limit && file_.is_signed()) {
      line::wake(file_.get().slots[own]);
    }
  });
  struct leaving {
    file_session& s;
    const waiting& w;
    bool granted = false;
    ~leaving() {
      if (!s.line_.is_in()) return;
      // A child may leave by an exception, from a fork in gives_up: the place is the parent's.
      if (!s.is_this_process() || !s.file_.is_signed()) {  // (A5)
        s.line_.forget();
        return;
      }
      s.line_.leave();
      reach(point::line_left);
      s.line_.hasten(now());
      if (granted) {
        s.line_.have_got_it(w.has_stood_by);
      } else if (word(s.file_.get().header.word.load()).is_free()) {
        s.line_.wake_head();  // (A4)
      }
    }
  } place{*this, w};

  // A waiter that is likely to wait joins before the first look, which is then the only one.
  if (deadline > begun && is_this_process() && owns_slot() &&
      word(file_.get().header.word.load()).is_held()) {
    join(begun, result);
  }
  for (;;) {
    // Before the look at the path: after that look we may be stopped for any length of time.
    const instant checked = now_coarse();
    const bool is_unchecked = checked >= next_check_.load(std::memory_order_relaxed);
    if (!is_this_process() || (is_unchecked && !file_.is_current())) {
      reopen();
    }
    reach(point::path_checked);
    if (is_unchecked) next_check_.store(checked + path_check_interval, std::memory_order_relaxed);
    const std::uint32_t seen = file_.own().wake.load();  // (A2)
    const outlook found = look(w, result);
    if (found == outlook::granted) {
      place.granted = true;
      result.waited = between(begun, now());
      return result;
    }
    if (found == outlook::reopen) {
      // A call that tries once gets a few tries, because files come and go.
      if (++w.reopened > most_reopened && (now() >= w.deadline || stop.stop_requested())) {
        ec = stop.stop_requested() ? errc::cancelled : errc::timed_out;
        return std::nullopt;
      }
      file_.throw_if_unusable();
      reopen();
    } else if (stop.stop_requested() || w.has_given_up) {  // (A3)
      ec = errc::cancelled;
      return std::nullopt;
    } else if (w.now >= w.deadline) {
      ec = errc::timed_out;
      return std::nullopt;
    } else if (!line_.is_in()) {
      join(w.now, result);
    } else {
      rest(w, seen);
    }
  }
}

/// From one look to the next: stands by, naps or sleeps. Returns at once if the own futex word
/// differs from `seen` (A2).
void file_session::rest(waiting& w, std::uint32_t seen) {
  const instant until = std::min({w.deadline, w.next_look, w.next_question});
  if (!w.has_stood_by && token_of(w.seen) != w.watched &&
      line_.stand_by(w.seen, seen, w.now, until)) {
    w.has_stood_by = true;
    w.watched = token_of(w.seen);
    return;
  }
  reach(point::look_made);
  const instant nap_ends = line_.make_way(w.seen, w.now);
  if (!file_.is_signed()) return;  // (A5)
  if (nap_ends == 0) {
    line_.want();
    if (file_.get().header.word.load() != w.seen.bits()) return;
  }
  reach(point::sleep_decided);
  w.has_stood_by = false;
  const bool is_quiet = line_.sleep(seen, w.now, nap_ends == 0 ? until : std::min(until, nap_ends));
  reach(point::woken);
  if (gives_up_ && (!is_quiet || now() >= w.next_question)) {
    w.has_given_up = gives_up_();
    w.next_question = now() + question_interval;
  }
}

/// The token of the grant. It stays the same over renewals, each of which changes the word.
std::uint64_t file_session::token_of(word held) const noexcept {
  return held.is_held() ? file_.get().slots[held.slot()].token.load() : 0;
}

void file_session::join(instant now, grant& result) noexcept {
  if (!file_.is_signed()) return;  // (A5)
  line_.join(now);
  result.place = line_.place();
}

void file_session::reopen() {
  if (is_this_process()) {
    if (!file_.is_signed()) {
      line_.forget();  // (A5)
    } else if (line_.is_in()) {
      line_.leave();
      line_.hasten(now());  // the waiters behind have to move, too
    }
  } else {
    line_.forget();  // the place is the parent's
  }
  auto deletion = broken_by_deletion();
  if (deletion && file_.get().header.deletion_told.exchange(1) != 0) deletion.reset();
  file_.note_departure();
  attach(deletion);
}

file_session::outlook file_session::look(waiting& w, grant& result) {
  for (;;) {
    w.now = now();
    if (!file_.is_signed()) return outlook::reopen;  // (A5)
    line_.answer(w.now);
    const word seen(file_.get().header.word.load());
    w.seen = seen;
    const bool has_room = !seen.is_held() || seen.slot() < file_.capacity();
    if (!seen.is_sane() || seen.is_tombstone() || seen.counter() < highest_seen_ || !has_room) {
      return outlook::reopen;
    }
    highest_seen_ = seen.counter();

    w.next_look = never;
    const auto found = find_opening(seen, w);
    const std::uint32_t ahead = line_.place();
    w.next_look = std::min(w.next_look, line_.next_look_at(ahead, w.now));
    if (!found) return outlook::wait;

    const bool barges = seen.is_free() && !line_.is_in() && line_.may_barge(w.now);
    if (ahead > 0 && !barges) {
      instant turn = found->since + ahead * untaken;
      if (w.now >= turn) {
        reach(point::turn_come);
        turn = line_.call_those_ahead();
      }
      if (w.now < turn) {
        line_.wake_wanted();
        w.next_look = std::min(w.next_look, turn);
        return outlook::wait;
      }
    }
    if (!owns_slot() || !has_token_after(seen)) return outlook::reopen;
    reach(point::opening_found);
    const instant start = now();
    if (!take(seen, start, lease(), found->how)) continue;
    exact_begin_ = start;
    went_first_ = false;
    if (ahead > 0 && !barges) {
      reach(point::line_overtaken);
      line_.pass_over();
    }
    result.token = token();
    result.how = found->how;
    result.previous = found->previous;
    return outlook::granted;
  }
}

std::optional<file_session::opening> file_session::find_opening(word seen, waiting& w) {
  opening o{w.now, seen.was_broken() ? grant_kind::broken : grant_kind::free, std::nullopt};
  if (seen.is_held()) {
    const slot& holder = file_.get().slots[seen.slot()];
    const instant deadline = holder.lease_deadline.load();
    // Our slot with another's word: its owner closed its lifeline, and we have claimed it.
    const bool alive =
        seen.slot() == file_.own_slot() ? is_ours(seen) : file_.is_alive(seen.slot());
    o.how = alive ? grant_kind::expired : grant_kind::abandoned;
    if (alive && w.now < deadline) {
      w.next_look = deadline;
      return std::nullopt;
    }
    o.previous = described(holder.pid, holder.user, holder.command, std::size(holder.command));
    if (deadline < w.now) o.since = deadline;
  }
  if (o.how != grant_kind::expired)
    o.since = std::min(o.since, line::open_since(file_.get().header, seen, w.now));
  return o;
}

}  // namespace lockbyfile::file
