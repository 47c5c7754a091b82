// SPDX-License-Identifier: Apache-2.0
#include "bounds.hpp"

#include <algorithm>
#include <cstdio>
#include <lockbyfile/error.hpp>
#include <set>

namespace lockbyfile::torture {

namespace {

struct yardstick {
  bool is_remote;
  instant tolerance;
  instant death_bound;
  instant half_way;
  instant like_stopped;
  // A waiter that wakes up late while the lock has been open for this long may be skipped.
  instant untaken;
  instant joining;
  instant look_for_each_dead;
  instant lately;
  instant waking;  // a stop that ended this long ago may still matter
  instant error;   // delays the yardstick misses: sleep in the kernel, as for a disk's journal
};

constexpr yardstick of_files{.is_remote = false,
                             .tolerance = milliseconds(1),
                             .death_bound = milliseconds(10),
                             .half_way = milliseconds(25),
                             .like_stopped = milliseconds(15),
                             .untaken = milliseconds(20),
                             .joining = microseconds(50),
                             .look_for_each_dead = milliseconds(20),
                             .lately = milliseconds(50),
                             .waking = milliseconds(1),
                             .error = microseconds(100)};

constexpr instant slow_messages = milliseconds(1'500);
constexpr instant end_of_etcd_lease = milliseconds(2'500) + slow_messages;

constexpr yardstick of_etcd{.is_remote = true,
                            .tolerance = slow_messages,
                            .death_bound = end_of_etcd_lease,
                            .half_way = end_of_etcd_lease,
                            .like_stopped = milliseconds(500),
                            .untaken = milliseconds(500),
                            .joining = slow_messages,
                            .look_for_each_dead = end_of_etcd_lease,
                            .lately = end_of_etcd_lease,
                            .waking = end_of_etcd_lease,
                            .error = 0};

class judge {
 public:
  judge(const timeline& time, std::uint8_t index, const name_record& name, engine of, report& out)
      : time_(time),
        index_(index),
        name_(name),
        by_(of == engine::etcd ? of_etcd : of_files),
        out_(out) {}

  void judge_all() {
    judge_patience();
    judge_order();
    const grant_record* before = nullptr;
    for (const grant_record& g : name_.grants) {
      if (before != nullptr) judge_gap(*before, g);
      before = &g;
    }
  }

 private:
  /// `measured` is how long the kernel kept the waiting threads from running. The real cost is
  /// higher: the kernel does not count switches, cold caches and interrupts for them.
  void score(bound b, instant late, instant measured, const std::string& what, const deed& of) {
    const instant allowance = measured + measured / 4;
    tally& t = out_.tallies.at(static_cast<std::size_t>(b));
    ++t.judged;
    if (late == 0) ++t.within;
    t.worst = std::max(t.worst, late);
    if (late <= allowance) return;
    ++t.broken;
    char text[200];
    std::snprintf(text, sizeof text,
                  "name %u, process %u: %s, %.3f ms late, allowance %.3f ms (at %llu)",
                  unsigned{index_}, of.process, what.c_str(), static_cast<double>(late) / 1e6,
                  static_cast<double>(allowance) / 1e6, static_cast<unsigned long long>(of.begin));
    if (late - allowance <= by_.error) {
      t.barely.emplace_back(text);
    } else {
      out_.add(text);
    }
  }

  /// How long the thread of `d` was kept from running until then.
  [[nodiscard]] instant hindered(const deed& d, instant until) const {
    return d.result.delay + time_.forking_for(d.process, d.begin, until);
  }

  /// How much of the delay from `from` on is not the lock's fault.
  [[nodiscard]] instant excused(const deed& d, instant until, instant from) const {
    return hindered(d, until) + time_.stalled_for(from, until) + time_.outage_for(from, until);
  }

  static instant beyond(instant value, instant limit) { return value > limit ? value - limit : 0; }

  [[nodiscard]] bool changes_file(instant from, instant to) const {
    const instant earlier = from > blindness ? from - blindness : 0;
    const auto meets = [&](const deed* d) { return time_.meets(*d, earlier, to); };
    return std::ranges::any_of(name_.removals, meets) ||
           std::ranges::any_of(name_.mischiefs, meets) ||
           std::ranges::any_of(name_.permissions, meets);
  }

  /// Whether `a` may have had to open the file, or another, by `to`.
  [[nodiscard]] bool moves(const deed& a, instant to) const {
    return a.looked == 0 || changes_file(std::min(a.looked, a.begin), to);
  }

  // --- P8 ------------------------------------------------------------------------

  void judge_patience() {
    for (const deed* a : name_.acquires) {
      const outcome& r = a->result;
      if (!a->is_finished()) continue;
      const instant deadline = after(a->begin, a->patience);
      const bool is_refused = r.error == static_cast<int>(errc::timed_out);
      const bool is_cancelled = r.error == static_cast<int>(errc::cancelled);
      if (is_refused && r.end < deadline) {
        score(bound::patience, deadline - r.end, 0, "patience ended early", *a);
        continue;
      }
      if (is_cancelled && r.end < r.from)
        score(bound::patience, r.from - r.end, 0, "cancelled before the request", *a);
      if (!is_refused && !is_cancelled && r.error != 0) continue;
      const instant due = is_cancelled ? std::min(deadline, std::max(a->begin, r.to)) : deadline;
      if (due == never || moves(*a, r.end)) continue;
      const instant stopped = time_.stopped_for(a->process, a->begin, r.end);
      const instant late = beyond(r.end, due + by_.tolerance + stopped);
      score(bound::patience, late, excused(*a, r.end, a->begin), "a wait beyond its deadline", *a);
    }
  }

  // --- P7 ------------------------------------------------------------------------

  void judge_order() {
    std::vector<const deed*> waiting;  // the acquires that began before
    tally& t = out_.tallies[static_cast<std::size_t>(bound::order)];
    for (const deed* b : name_.acquires) {
      std::erase_if(waiting, [&](const deed* a) { return time_.end_of(*a) < b->begin; });
      if (b->succeeded()) {
        bool is_judged = false;
        bool is_within = true;
        for (const deed* a : waiting) judge_pair(*a, *b, is_judged, is_within);
        if (is_judged) ++t.judged;
        if (is_judged && is_within) ++t.within;
      }
      waiting.push_back(b);
    }
  }

  /// Whether `b` was granted the lock before `a`, which waited first.
  void judge_pair(const deed& a, const deed& b, bool& is_judged, bool& is_within) {
    if (b.begin < a.begin + by_.joining + by_.tolerance || !a.is_finished()) return;
    const outcome& r = a.result;
    const bool has_given_up = r.error == static_cast<int>(errc::timed_out) ||
                              r.error == static_cast<int>(errc::cancelled);
    if (!a.succeeded() && !has_given_up) return;
    is_judged = true;
    // A waiter that gave up was in the wait queue until its deadline or its stop request.
    const instant left =
        r.error == static_cast<int>(errc::cancelled) ? r.from : after(a.begin, a.patience);
    const bool is_overtaken = a.succeeded() ? r.token > b.result.token : left > b.result.end;
    if (!is_overtaken || moves(a, b.result.end)) return;
    if (time_.is_disturbed(a.process, a.begin, b.result.end)) return;
    if (time_.is_troubled(a.begin, b.result.end)) return;  // it may have lost its place
    const instant late = b.begin - a.begin - by_.joining - by_.tolerance;
    const instant allowance = hindered(a, b.result.end) + time_.stalled_for(a.begin, b.begin);
    if (allowance > by_.tolerance && b.result.end > may_be_open_since(b) + by_.untaken) return;
    is_within = false;
    tally& t = out_.tallies[static_cast<std::size_t>(bound::order)];
    t.worst = std::max(t.worst, late);
    if (late <= allowance || allowance >= by_.like_stopped) return;
    --t.judged;  // score() counts it
    score(bound::order, late, allowance, "overtaken by process " + std::to_string(b.process), a);
  }

  /// The earliest time at which the lock may have been open before `granted` got it.
  [[nodiscard]] instant may_be_open_since(const deed& granted) const {
    const auto next =
        std::ranges::lower_bound(name_.grants, granted.result.token, {}, &grant_record::token);
    if (next == name_.grants.begin()) return 0;
    const grant_record& before = *std::prev(next);
    return before.is_kept_alive ? before.given_up : std::min(before.lease_from, before.given_up);
  }

  // --- P5, P6 --------------------------------------------------------------------

  struct gap {
    bound kind;
    instant from;
    instant to;
  };

  /// When the lock was certainly open between two grants; from >= to if that is unknown.
  [[nodiscard]] gap between(const grant_record& before, const grant_record& next) const {
    gap g{bound::handoff, 0, next.end()};
    switch (next.acquired->result.how) {
      case grant_kind::broken:
      case grant_kind::free:
        g.from = before.released == nullptr ? 0 : time_.end_of(*before.released);
        for (const deed* b : name_.breaks) {
          if (time_.meets(*b, before.begin(), g.to)) g.from = std::max(g.from, time_.end_of(*b));
        }
        for (const deed* b : name_.breaks) {  // a late release did not open it a second time
          if (b->succeeded() && b->token == before.token())
            g.from = std::min(g.from, b->result.end);
        }
        break;
      case grant_kind::expired:
        g.kind = bound::lease;
        g.from = before.is_kept_alive ? never : before.lease_to;
        for (const deed* d : before.then) {
          if (!d->is_finished()) g.from = never;  // a renewal, perhaps
        }
        break;
      case grant_kind::abandoned:
        g.kind = bound::death;
        g.from = time_.process(before.acquired->process).gone;
        if (by_.is_remote && g.from == never) g.from = last_stop(before, g.to);
        break;
    }
    if (g.from == 0) g.from = never;
    // A process that was killed in acquire may have been granted the lock in between.
    for (const deed* u : name_.unfinished) {
      const instant gone = time_.end_of(*u);
      if (gone < before.begin() || u->begin > g.to) continue;
      g.from = g.kind == bound::lease ? never : std::max(g.from, gone);
    }
    if (before.released != nullptr && g.kind == bound::death)
      g.from = std::max(g.from, time_.end_of(*before.released));
    for (const deed* s : time_.process(next.acquired->process).stops) {
      if (!time_.meets(*s, std::max(g.from, next.begin()), g.to)) continue;
      g.to = std::min(g.to, s->begin > g.from          ? s->begin
                            : s->result.from <= g.from ? s->result.to
                                                       : g.from);
    }
    return g;
  }

  /// When the living holder of a lock in etcd was last stopped: by that it lost the lock.
  [[nodiscard]] instant last_stop(const grant_record& g, instant until) const {
    instant last = never;
    for (const deed* s : time_.process(g.acquired->process).stops)
      if (s->begin >= g.begin() && s->begin < until) last = s->begin;
    return last;
  }

  [[nodiscard]] instant by_earlier(instant t) const { return t - std::min(t, by_.waking); }

  /// How many sessions, except those of process `but`, may have delayed the grant. They are the
  /// stopped ones, and those that died behind a stopped one. Nobody checks whether a waiter lives
  /// before it is the first waiter.
  [[nodiscard]] std::uint64_t disturbed_in(const gap& g, std::uint32_t but) const {
    std::set<std::uint32_t> who;  // sessions
    instant first = never;
    const auto add = [&](const deed* d) {
      if (d->process == but || !time_.meets(*d, by_earlier(g.from), g.to)) return;
      if (d->result.delay >= by_.like_stopped ||
          time_.is_disturbed(d->process, by_earlier(g.from), g.to)) {
        who.insert(d->session);
        first = std::min(first, d->begin);
      }
    };
    for_all_near(name_.acquires, g, add);
    for_all_near(name_.releases, g, add);
    for (const deed* u : name_.unfinished)
      if (u->begin >= first && u->begin < g.to) who.insert(u->session);
    return who.size();
  }

  /// How many waiters died in the wait queue shortly before.
  [[nodiscard]] std::uint64_t died_before(const gap& g) const {
    return static_cast<std::uint64_t>(std::ranges::count_if(name_.unfinished, [&](const deed* u) {
      const instant gone = time_.end_of(*u);
      if (by_.is_remote) return u->begin < g.to && gone + by_.lately > g.from;
      return gone < by_earlier(g.from) && gone + by_.lately > g.from;
    }));
  }

  /// Calls `f` with those of `deeds` that may meet the gap. They are sorted by begin, and few last
  /// long.
  template <class F>
  void for_all_near(const std::vector<const deed*>& deeds, const gap& g, F&& f) const {
    auto i = std::ranges::upper_bound(deeds, g.to, {}, [](const deed* d) { return d->begin; });
    while (i != deeds.begin()) {
      --i;
      if ((*i)->begin + longest_deed_ < g.from) return;
      f(*i);
    }
  }

  void judge_gap(const grant_record& before, const grant_record& next) {
    if (before.begin() > next.end()) return;
    const gap g = between(before, next);
    if (g.from >= g.to || changes_file(before.begin(), g.to)) return;
    const deed* longest = nullptr;
    instant since = g.to;
    instant delays = 0;
    bool moving = false;
    for_all_near(name_.acquires, g, [&](const deed* a) {
      if (!time_.meets(*a, g.from, g.to)) return;
      delays += hindered(*a, g.to);
      moving = moving || moves(*a, g.to);
      const instant from = std::max(g.from, a->begin);
      if (a->is_finished() && a->result.end >= g.to && from < since &&
          !time_.is_disturbed(a->process, by_earlier(g.from), g.to)) {
        longest = a;
        since = from;
      }
    });
    if (longest == nullptr || moving) return;
    instant limit = g.kind == bound::death ? by_.death_bound : by_.tolerance;
    limit += by_.half_way * disturbed_in(g, longest->process);
    if (g.kind != bound::handoff || by_.is_remote) limit += by_.look_for_each_dead * died_before(g);
    if (by_.is_remote && g.kind == bound::lease &&
        time_.is_disturbed(before.acquired->process, before.begin(), g.to))
      limit += by_.death_bound;  // the process that should open the lock cannot
    score(g.kind, beyond(g.to - since, limit),
          delays + time_.stalled_for(g.from, g.to) + time_.outage_for(g.from, g.to),
          g.kind == bound::death   ? "a dead holder was not noticed"
          : g.kind == bound::lease ? "the end of a lease was not noticed"
                                   : "a free lock was left untaken",
          *longest);
  }

  const timeline& time_;
  std::uint8_t index_;
  const name_record& name_;
  const yardstick& by_;
  report& out_;
  const instant longest_deed_ = [this] {
    instant longest = 0;
    for (const auto* deeds : {&name_.acquires, &name_.releases}) {
      for (const deed* d : *deeds) {
        const instant end = time_.end_of(*d);
        if (end != never) longest = std::max(longest, end - std::min(end, d->begin));
      }
    }
    return longest;
  }();
};

}  // namespace

void judge_bounds(const timeline& time, std::uint8_t index, const name_record& name, engine of,
                  report& out) {
  judge(time, index, name, of, out).judge_all();
}

}  // namespace lockbyfile::torture
