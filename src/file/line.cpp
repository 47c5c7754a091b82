// SPDX-License-Identifier: Apache-2.0
#include "file/line.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "file/point.hpp"

namespace lockbyfile::file {

namespace {

constexpr std::uint64_t dozing = std::uint64_t{1} << 63;

// In next_look: called at that instant, and has not looked since (L5).
constexpr instant called = instant{1} << 63;
constexpr instant head_looks_every = milliseconds(5);
constexpr instant late = milliseconds(25);  // times their place
constexpr instant late_at_the_head = milliseconds(8);

constexpr std::uint64_t number(std::uint64_t ticket) { return ticket & ~dozing; }
constexpr bool is_awake(std::uint64_t ticket) { return ticket != 0 && (ticket & dozing) == 0; }

}  // namespace

/// The line as seen in one pass over the slots. It may have changed by now.
struct line::scan_result {
  std::uint64_t head = 0;  // ticket; a dozing one only if nobody is awake
  std::uint32_t head_slot = 0;
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
      r.head = t;
      r.head_slot = i;
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
  ticket_ = number(h.tickets.fetch_add(1) + 1);
  reach(point::ticket_drawn);
  own.ticket.store(ticket_);
  reach(point::ticket_published);
  h.last_to_join.store(ticket_);
  reach(point::line_joined);
}

void line::leave() noexcept {
  if (ticket_ == 0) return;
  for (std::uint64_t ours : {ticket_, ticket_ | dozing}) {  // and nobody else's (L1)
    file_.own().ticket.compare_exchange_strong(ours, 0);
  }
  ticket_ = 0;
}

void line::answer(instant now) noexcept {
  if (ticket_ == 0) return;
  slot& own = file_.own();
  own.next_look.store(now);
  std::uint64_t t = ticket_ | dozing;
  if (own.ticket.load(std::memory_order_relaxed) == t)
    own.ticket.compare_exchange_strong(t, ticket_);
}

std::uint32_t line::place() noexcept {
  for (;;) {
    const std::uint64_t hint = file_.get().header.last_to_join.load();
    const scan_result r = scan();
    if (r.head == 0) clear_hint(hint);
    if (r.ahead == 0 || file_.is_alive(r.head_slot)) return r.ahead;
    std::uint64_t dead = r.head;
    file_.get().slots[r.head_slot].ticket.compare_exchange_strong(dead, 0);
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
  return now + (place == 0 ? head_looks_every : untaken * place);
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

instant line::call_those_ahead(instant now) noexcept {
  image& f = file_.get();
  const std::uint32_t n = file_.capacity();
  instant until = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    slot& s = f.slots[i];
    if (!is_ahead(s.ticket.load())) continue;
    instant look = s.next_look.load();
    const bool is_called = (look & called) != 0;
    until = std::max(until, (is_called ? std::min(look & ~called, now) : now) + grace);
    if (!is_called && s.next_look.compare_exchange_strong(look, now | called)) wake(s);
  }
  return until;
}

void line::pass_over() noexcept {
  image& f = file_.get();
  const std::uint32_t n = file_.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    std::uint64_t t = f.slots[i].ticket.load();
    if (is_ahead(t) && f.slots[i].ticket.compare_exchange_strong(t, t | dozing)) wake(f.slots[i]);
  }
}

void line::wake(slot& s) noexcept {
  s.wake.fetch_add(1);
  sys.futex_wake(reinterpret_cast<const std::uint32_t*>(&s.wake), 1);
}

void line::wake_head() noexcept {
  header& h = file_.get().header;
  for (;;) {
    const std::uint64_t hint = h.last_to_join.load();
    if (hint == 0) return;
    const scan_result r = scan();
    if (r.head == 0) return clear_hint(hint);
    slot& head = file_.get().slots[r.head_slot];
    const instant arrived = head.waiting_since.load(std::memory_order_relaxed);
    h.barge_until.store(arrived + barging, std::memory_order_relaxed);
    reach(point::head_chosen);
    head.wake.fetch_add(1);
    reach(point::wake_counted);
    const auto* word = reinterpret_cast<const std::uint32_t*>(&head.wake);
    if (sys.futex_wake(word, 1) > 0) return;
    // Nobody slept there: it is awake and will look, or it has died.
    if (r.head_slot == file_.own_slot() || file_.is_alive(r.head_slot)) return;
    std::uint64_t dead = r.head;
    head.ticket.compare_exchange_strong(dead, 0);
  }
}

void line::hasten(instant now) noexcept {
  image& f = file_.get();
  const std::uint64_t hint = f.header.last_to_join.load();
  if (hint == 0) return;
  std::array<std::uint64_t, slot_limit> tickets;  // NOLINT: filled as far as it is read
  std::size_t waiting = 0;
  const std::uint32_t n = file_.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint64_t t = f.slots[i].ticket.load();
    if (t != 0) tickets[waiting++] = t;
  }
  if (waiting == 0) return clear_hint(hint);
  auto* const end = tickets.data() + static_cast<std::ptrdiff_t>(waiting);
  std::sort(tickets.data(), end);
  const word seen(f.header.word.load());
  const bool is_held = seen.is_held() && seen.slot() < n;
  const instant opens = is_held ? f.slots[seen.slot()].lease_deadline.load() : never;
  const instant head_slack = std::min(late_at_the_head, opens - std::min(opens, now));
  // Who is not at the head is late after this, times the place: next to an open lock when it
  // may take it (L5).
  const bool is_open = seen.is_free() || opens <= now;
  const instant since = !is_open ? now : is_held ? opens : open_since(f.header, seen, now);
  const instant each = is_open ? untaken : late;
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint64_t t = f.slots[i].ticket.load();
    if (!is_awake(t)) continue;
    const auto place = std::lower_bound(tickets.data(), end, t) - tickets.data();
    const instant latest =
        place == 0 ? now + head_slack : since + each * static_cast<instant>(place);
    const instant next_look = f.slots[i].next_look.load(std::memory_order_relaxed);
    const bool is_looking = next_look <= now;  // and may be about to sleep, on an older look
    if (is_looking || next_look > latest) wake(f.slots[i]);
  }
}

void line::wake_all() noexcept {
  const std::uint32_t n = file_.capacity();
  for (std::uint32_t i = 0; i < n; ++i) {
    if (file_.get().slots[i].ticket.load() != 0) wake(file_.get().slots[i]);
  }
}

bool line::sleep(std::uint32_t seen, instant until) noexcept {
  slot& own = file_.own();
  own.next_look.store(until);
  const auto t = to_timespec(until);
  return sys.futex_wait(reinterpret_cast<const std::uint32_t*>(&own.wake), seen, &t) == 0 ||
         errno != EINTR;
}

}  // namespace lockbyfile::file
