// SPDX-License-Identifier: Apache-2.0
#include "file/line.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <memory>
#include <new>

#include "file/point.hpp"

namespace lockbyfile::file {

namespace {

constexpr instant head_looks_every = milliseconds(5);
constexpr instant each = milliseconds(15);

/// A waiter with so many before it sleeps for so long at the most. Promise P6 allows 25 ms
/// times the place, but promise P5 asks the head for 10 ms.
constexpr instant laziness(std::uint64_t place) {
  return head_looks_every + milliseconds(12) * place;
}
/// And it is woken if it would sleep for longer than this.
constexpr instant lateness(std::uint64_t place) { return milliseconds(7) + each * place; }
/// So long at first: a line that moves fast serves it before that.
constexpr instant first_sleep = lateness(0);

/// What is compared in (L4).
constexpr std::int64_t less_moves(instant t, std::uint64_t moves) {
  return static_cast<std::int64_t>(t - each * moves);
}

// A waiter in `front`: the end of its ticket and, above 0, its slot (L6).
constexpr std::uint32_t slot_mask = (1U << 12) - 1;
constexpr std::uint32_t mark(std::uint64_t ticket, std::uint32_t slot) {
  return static_cast<std::uint32_t>(ticket << 12) | (slot + 1);
}

// A longer hold counts as one of this length: so one among short ones changes nothing, and several
// in a row do.
constexpr instant too_long = 2 * longest_watched;

bool is_worth_a_watch(const header& h) noexcept {
  const instant hold = h.usual_hold.load(std::memory_order_relaxed);
  return hold >= shortest_watched && hold <= longest_watched;
}

/// Where we run, above 0; 0 where that is not told, and then nobody stands by.
std::uint32_t processor() noexcept { return static_cast<std::uint32_t>(::sched_getcpu()) + 1; }

/// Lets the other thread of a processor go first for a moment.
void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr std::uint64_t number(std::uint64_t ticket) { return ticket & ~dozing; }
constexpr bool is_awake(std::uint64_t ticket) { return ticket != 0 && (ticket & dozing) == 0; }

}  // namespace

/// The line as seen in one pass over the slots. It may have changed by now.
struct line::scan_result {
  std::uint64_t head = 0;  // ticket; a dozing one only if nobody is awake
  std::uint32_t head_slot = 0;
  std::uint64_t next = 0;  // the ticket after that
  std::uint32_t next_slot = 0;
  std::uint32_t ahead = 0;  // awake tickets before ours
};

bool line::is_ahead(std::uint64_t ticket) const noexcept {
  return is_awake(ticket) && (ticket_ == 0 || ticket < ticket_);
}

line::scan_result line::scan() const noexcept {
  scan_result r;
  image& f = file_.get();
  const std::uint32_t n = file_.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint64_t t = f.slots[i].ticket.load();
    if (t == 0) continue;
    if (r.head == 0 || t < r.head) {  // a dozing one is larger than any other
      r.next = r.head;
      r.next_slot = r.head_slot;
      r.head = t;
      r.head_slot = i;
    } else if (r.next == 0 || t < r.next) {
      r.next = t;
      r.next_slot = i;
    }
    if (is_ahead(t)) ++r.ahead;
  }
  return r;
}

void line::join(instant now) noexcept {
  header& h = file_.get().header;
  slot& own = file_.own();
  own.waiting_since.store(now, std::memory_order_relaxed);
  own.next_look.store(now, std::memory_order_relaxed);
  slept_at_ = 0;
  seen_ = {};  // of another ticket
  ticket_ = number(h.tickets.fetch_add(1) + 1);
  reach(point::ticket_drawn);
  own.ticket.store(ticket_);
  reach(point::ticket_published);
  if (number(h.tickets.load()) != ticket_) have_moved();  // somebody behind us may not have seen us
  h.last_to_join.store(ticket_);
  reach(point::line_joined);
}

void line::leave() noexcept {
  if (ticket_ == 0) return;
  for (std::uint64_t ours : {ticket_, ticket_ | dozing}) {  // and nobody else's (L1)
    if (file_.own().ticket.compare_exchange_strong(ours, 0)) break;
  }
  ticket_ = 0;
  have_moved();
  want();
}

void line::drop(slot& s, std::uint64_t ticket) noexcept {
  if (s.ticket.compare_exchange_strong(ticket, 0)) have_moved();
}

bool line::is_true(const view& v) const noexcept {
  const image& f = file_.get();
  return v.moves == f.header.moves.load() &&
         (v.place == 0 || f.slots[v.head_slot].ticket.load() == v.head);
}

void line::answer(instant now) noexcept {
  if (ticket_ == 0) return;
  slot& own = file_.own();
  own.next_look.store(now);
  std::uint64_t t = ticket_ | dozing;
  if (own.ticket.load(std::memory_order_relaxed) == t &&
      own.ticket.compare_exchange_strong(t, ticket_)) {
    have_moved();  // backwards
    file_.get().header.front.store(0);
  }
}

std::uint32_t line::place() noexcept {
  for (;;) {
    if (ticket_ == 0 || !is_true(seen_)) {
      header& h = file_.get().header;
      seen_.moves = h.moves.load();
      const std::uint64_t hint = h.last_to_join.load();
      std::uint64_t front = h.front.load();
      if (ticket_ != 0 && pair(front).head == mark(ticket_, file_.own_slot())) {  // (L6)
        seen_.place = 0;
        return 0;
      }
      const scan_result r = scan();
      if (r.head == 0) clear_hint(hint);
      seen_.head = r.head;
      seen_.head_slot = r.head_slot;
      seen_.place = r.ahead;
      if (ticket_ != 0 && (is_behind(pair(front).head) || is_behind(pair(front).next))) {
        h.front.compare_exchange_strong(front, 0);  // it comes before us, wrongly
      }
    }
    if (seen_.place == 0 || file_.is_alive(seen_.head_slot)) return seen_.place;
    drop(file_.get().slots[seen_.head_slot], seen_.head);
  }
}

void line::clear_hint(std::uint64_t seen) noexcept {
  if (seen != 0) file_.get().header.last_to_join.compare_exchange_strong(seen, 0);
}

bool line::may_barge(instant now) const noexcept {
  const instant until = file_.get().header.barge_until.load(std::memory_order_relaxed);
#ifdef LOCKBYFILE_BROKEN_ORDER  // on purpose, to be found: torture/CMakeLists.txt
  return now != until;
#else
  return now < until && until - now <= barging;
#endif
}

instant line::next_look_at(std::uint32_t place, instant now) noexcept {
  instant sleep = laziness(place);
  if (slept_at_ == 0) {
    sleep = std::min(sleep, first_sleep);
  } else if (place < slept_place_) {
    const instant its_turn = (now - slept_at_) / (slept_place_ - place) * place;
    sleep = std::clamp(its_turn / 5 * 4, head_looks_every, sleep);
  }
  return now + sleep;
}

void line::stop_standing_by() noexcept {
  shared<std::uint64_t>& standing_by = file_.get().header.standing_by;
  std::uint64_t ours = ticket_;
  if (ours != 0 && standing_by.load() == ours) standing_by.compare_exchange_strong(ours, 0);
}

void line::want() noexcept {
  stop_standing_by();
  file_.get().header.wanted.store(1);
}

void line::wake_wanted() noexcept {
  shared<std::uint64_t>& wanted = file_.get().header.wanted;
  if (wanted.load() != 0 && wanted.exchange(0) != 0) wake_head();
}

void line::pass_on() noexcept {
  shared<std::uint64_t>& standing_by = file_.get().header.standing_by;
  std::uint64_t stander = standing_by.load();
  if (stander == 0 || !standing_by.compare_exchange_strong(stander, 0)) return wake_wanted();
  reach(point::stander_relieved);
  const scan_result r = scan();
  if (r.head != stander) return wake_head();
  if (r.next != 0) wake(file_.get().slots[r.next_slot]);
}

void line::note_hold(header& h, instant hold) noexcept {
  const instant usual = h.usual_hold.load(std::memory_order_relaxed);
  if (hold >= shortest_watched) hold = (3 * usual + std::min(hold, too_long)) / 4;
  h.usual_hold.store(static_cast<std::uint32_t>(hold), std::memory_order_relaxed);
}

void line::have_got_it(bool has_stood_by) noexcept {
  header& h = file_.get().header;
  h.granted_on.store(processor(), std::memory_order_relaxed);
  if (!has_stood_by && is_worth_a_watch(h)) wake_wanted();
}

bool line::stand_by(word held, std::uint32_t seen, instant now, instant until) noexcept {
  header& h = file_.get().header;
  const auto is_in_the_way = [&h] {
    return h.granted_on.load(std::memory_order_relaxed) == processor();
  };
  if (seen_.place != 0 || !held.is_held() || !is_worth_a_watch(h) || is_in_the_way()) {
    return false;
  }
  h.standing_by.store(ticket_);
  reach(point::standing_by);
  const slot& own = file_.own();
  until = std::min(until, now + watch);
  do {
    for (int i = 0; i < 8 && h.word.load(std::memory_order_relaxed) == held.bits(); ++i) pause();
  } while (h.word.load() == held.bits() && own.wake.load(std::memory_order_relaxed) == seen &&
           !is_in_the_way() && lockbyfile::now() < until);
  return true;
}

instant line::make_way(word held, instant now) noexcept {
  header& h = file_.get().header;
  const word current(h.word.load());
  const bool is_outrun =
      current.is_held() && current.bits() != held.bits() && holds_are_very_short(h);
  const instant until = file_.own().waiting_since.load(std::memory_order_relaxed) + barging;
  if (seen_.place != 0 || !is_outrun || now >= until) return 0;
  stop_standing_by();
  h.barge_until.store(until, std::memory_order_relaxed);
  return std::min(until, now + nap);
}

void line::note_opening(header& h, word open, instant now) noexcept {
  h.opened_at.store(now, std::memory_order_relaxed);
  h.opened_counter.store(open.counter(), std::memory_order_relaxed);
}

instant line::open_since(header& h, word open, instant now) noexcept {
  if (h.opened_counter.load() == open.counter()) return std::min(now, h.opened_at.load());
  note_opening(h, open, now);
  return now;
}

instant line::call_those_ahead() noexcept {
  image& f = file_.get();
  const std::uint32_t n = file_.capacity();
  instant until = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    slot& s = f.slots[i];
    if (!is_ahead(s.ticket.load())) continue;
    const instant t = now();
    instant look = s.next_look.load();
    const bool is_called = (look & called) != 0;
    until = std::max(until, (is_called ? std::min(look & ~called, t) : t) + grace);
    if (!is_called && s.next_look.compare_exchange_strong(look, t | called)) wake(s);
  }
  return until;
}

void line::pass_over() noexcept {
  image& f = file_.get();
  const std::uint32_t n = file_.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    std::uint64_t t = f.slots[i].ticket.load();
    if (!is_ahead(t) || !f.slots[i].ticket.compare_exchange_strong(t, t | dozing)) continue;
    have_moved();
    wake(f.slots[i]);
  }
}

void line::wake(slot& s) noexcept {
  s.wake.fetch_add(1);
  sys.futex_wake(reinterpret_cast<const std::uint32_t*>(&s.wake), 1);
}

slot* line::waiter_at(std::uint32_t place_mark) const noexcept {
  const std::uint32_t at = (place_mark & slot_mask) - 1;  // none: wraps
  if (at >= file_.capacity()) return nullptr;
  slot& s = file_.get().slots[at];
  const std::uint64_t t = s.ticket.load();
  return is_awake(t) && mark(t, at) == place_mark ? &s : nullptr;
}

bool line::is_behind(std::uint32_t place_mark) const noexcept {
  const slot* const other = waiter_at(place_mark);
  return other != nullptr && other->ticket.load() > ticket_;
}

line::pair line::front_after(pair found) const noexcept {
  if (waiter_at(found.head) != nullptr) return found;
  if (waiter_at(found.next) != nullptr) return {found.next, 0};
  const scan_result r = scan();
  return {r.head == 0 ? 0 : mark(r.head, r.head_slot), r.next == 0 ? 0 : mark(r.next, r.next_slot)};
}

void line::foresee(pair front) noexcept {
  if (front.next != 0) return;
  const scan_result r = scan();
  if (r.next == 0 || mark(r.head, r.head_slot) != front.head) return;
  std::uint64_t bits = front.bits();
  front.next = mark(r.next, r.next_slot);
  file_.get().header.front.compare_exchange_strong(bits, front.bits());
}

void line::wake_head() noexcept {
  header& h = file_.get().header;
  for (;;) {
    const std::uint64_t hint = h.last_to_join.load();
    if (hint == 0) return;
    std::uint64_t found = h.front.load();
    const pair front = front_after(pair(found));
    if (front.head == 0) return clear_hint(hint);
    // Not if it has been wiped meanwhile: it may be wrong.
    if (front.bits() != found) h.front.compare_exchange_strong(found, front.bits());
    const std::uint32_t at = (front.head & slot_mask) - 1;
    slot& head = file_.get().slots[at];
    const std::uint64_t ticket = head.ticket.load();
    const instant arrived = head.waiting_since.load(std::memory_order_relaxed);
    h.barge_until.store(arrived + barging, std::memory_order_relaxed);
    reach(point::head_chosen);
    head.wake.fetch_add(1);
    reach(point::wake_counted);
    const auto* word = reinterpret_cast<const std::uint32_t*>(&head.wake);
    // Nobody slept there: it is awake and will look, or it has died.
    if (sys.futex_wake(word, 1) > 0 || at == file_.own_slot() || file_.is_alive(at)) {
      return foresee(front);
    }
    if (mark(ticket, at) == front.head) drop(head, ticket);
  }
}

void line::hasten(instant now) noexcept {
  image& f = file_.get();
  header& h = f.header;
  const std::uint64_t hint = h.last_to_join.load();
  if (hint == 0) return;
  const word seen(h.word.load());
  const std::uint32_t n = file_.capacity();
  const bool is_held = seen.is_held() && seen.slot() < n;
  const instant opens = is_held ? f.slots[seen.slot()].lease_deadline.load() : never;
  const instant head_slack = std::min(lateness(0), opens - std::min(opens, now));
  std::int64_t laziest = h.laziest.load();
  const std::uint64_t moves = h.moves.load();
  const bool none_is_late = laziest <= less_moves(now + lateness(0), moves);
  if (is_held && head_slack == lateness(0) && none_is_late) return;

  // All tickets would be 32 KiB, which is more than the stack of some threads.
  std::size_t room = 0;
  for (std::uint32_t i = 0; i < n; ++i) room += f.slots[i].ticket.load() != 0 ? 1 : 0;
  if (room == 0) return clear_hint(hint);
  room += 8;  // some may join meanwhile; a place that comes out too small only wakes early
  std::array<std::uint64_t, 32> some;  // NOLINT: filled as far as it is read
  const std::unique_ptr<std::uint64_t[]> many(
      room <= some.size() ? nullptr : new (std::nothrow) std::uint64_t[room]);
  if (room > some.size() && many == nullptr) return wake_all();  // to look for themselves
  std::uint64_t* const tickets = room <= some.size() ? some.data() : many.get();
  std::size_t waiting = 0;
  for (std::uint32_t i = 0; i < n && waiting < room; ++i) {
    const std::uint64_t t = f.slots[i].ticket.load();
    if (t != 0) tickets[waiting++] = t;
  }
  if (waiting == 0) return clear_hint(hint);
  std::uint64_t* const end = tickets + waiting;
  std::sort(tickets, end);
  // Next to an open lock, who is not at the head is late when it may take it (L5).
  const bool is_open = seen.is_free() || opens <= now;
  const instant since = !is_open ? now : is_held ? opens : open_since(h, seen, now);
  // Who will be late soon is woken, too: or each of many moves would read the whole line.
  const std::uint64_t soon = waiting / 16;
  std::int64_t laziest_left = std::numeric_limits<std::int64_t>::min();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint64_t t = f.slots[i].ticket.load();
    if (!is_awake(t)) continue;
    const auto place = static_cast<std::uint64_t>(std::lower_bound(tickets, end, t) - tickets);
    const instant latest = place == 0 ? now + head_slack
                           : is_open  ? since + untaken * place
                                      : now + lateness(place - std::min(place, soon));
    const instant next_look = f.slots[i].next_look.load();
    const bool is_looking = next_look <= now;  // and may be about to sleep, on an older look
    if (is_looking || next_look > latest) {
      wake(f.slots[i]);
    } else if (next_look > now + lateness(0)) {
      laziest_left = std::max(laziest_left, less_moves(next_look, moves + place));
    }
  }
  h.laziest.compare_exchange_strong(laziest, laziest_left);
}

void line::wake_all() noexcept {
  const std::uint32_t n = file_.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    if (file_.get().slots[i].ticket.load() != 0) wake(file_.get().slots[i]);
  }
}

bool line::sleep(std::uint32_t seen, instant now, instant until) noexcept {
  slot& own = file_.own();
  header& h = file_.get().header;
  slept_at_ = now;
  slept_place_ = seen_.place;
  own.next_look.store(until);
  if (until > now + lateness(0)) {  // (L4)
    const std::int64_t ours = less_moves(until, seen_.moves + seen_.place);
    // Raised in any case: who is about to lower it has not seen us.
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    std::int64_t laziest = h.laziest.load();
    while (!h.laziest.compare_exchange_weak(laziest,
                                            std::max(ours, laziest == most ? most : laziest + 1))) {
    }
    if (ours > less_moves(now + lateness(0), h.moves.load())) return true;
  }
  const auto t = to_timespec(until);
  return sys.futex_wait(reinterpret_cast<const std::uint32_t*>(&own.wake), seen, &t) == 0 ||
         errno != EINTR;
}

}  // namespace lockbyfile::file
