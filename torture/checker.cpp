// SPDX-License-Identifier: Apache-2.0
#include "checker.hpp"

#include <algorithm>
#include <lockbyfile/error.hpp>

#include "bounds.hpp"
#include "linearisable.hpp"
#include "timeline.hpp"

namespace lockbyfile::torture {

namespace {

constexpr instant settling = milliseconds(5000);    // of a damaged file, see judge_errors
constexpr instant longest_tick = milliseconds(10);  // options.hpp, lease
constexpr instant longest_lag = milliseconds(100);  // of the coarse clock, if its processor stalls

bool is(const deed& d, mischief_kind kind) { return d.detail == static_cast<std::uint8_t>(kind); }

class judge {
 public:
  judge(const timeline& time, std::uint8_t index, const name_record& name, engine of, report& out)
      : time_(time), index_(index), name_(name), is_remote_(of == engine::etcd), out_(out) {
    for (const deed* m : name.mischiefs) mischiefs_.push_back({m, blind_until(*m)});
  }

  /// `last`: the largest token of earlier rounds, and then of this one, too.
  void judge_all(std::uint64_t& last) {
    judge_exclusion();
    judge_tokens(last);
    judge_losses();
    judge_kinds();
    judge_errors();
    judge_register();
  }

 private:
  void violation(const std::string& what, const grant_record& g, const deed* d = nullptr) {
    out_.add("name " + std::to_string(index_) + ", token " + std::to_string(g.token()) +
             ", process " + std::to_string(g.acquired->process) + ": " + what + " (granted at " +
             std::to_string(g.end()) +
             (d == nullptr ? "" : ", then at " + std::to_string(d->begin)) + ')');
  }

  [[nodiscard]] bool may_hit(const deed& breaking, const grant_record& g) const {
    return (breaking.token == 0 || breaking.token == g.token()) &&
           time_.end_of(breaking) >= g.begin();
  }

  [[nodiscard]] instant blind_until(const deed& mischief) const {
    const instant end = time_.end_of(mischief);
    if (end == never) return never;
    return end + blindness + time_.stalled_for(end - std::min(end, longest_lag), end + longest_lag);
  }

  /// A mischief, and until when a session may go on with the file that it hit.
  struct misfortune {
    const deed* what;
    instant blind_until;
  };

  /// Whether `m` may have hit the file of the grant `g` by `until`.
  static bool may_befall(const misfortune& m, const grant_record& g, instant until) {
    return m.what->begin <= until && m.blind_until >= g.begin();
  }

  /// Whether a mischief may have separated the grant's file from the path by `until`.
  [[nodiscard]] bool is_parted(const grant_record& g, instant until) const {
    return std::ranges::any_of(mischiefs_,
                               [&](const misfortune& m) { return may_befall(m, g, until); });
  }

  /// Whether the grant may have been made from random bytes. A random counter that is a little too
  /// small looks like a sound one.
  [[nodiscard]] bool is_scribbled(const grant_record& g) const {
    return std::ranges::any_of(mischiefs_, [&](const misfortune& m) {
      return is(*m.what, mischief_kind::scribbled) && may_befall(m, g, g.end());
    });
  }

  // --- P1 ------------------------------------------------------------------------

  [[nodiscard]] instant certain_end(const grant_record& g) const {
    instant end = std::min(std::max(g.proven, g.lease_from), g.given_up);
    for (const deed* b : name_.breaks) {
      // A break that was over when the lock affirmed this grant has hit another grant.
      if (may_hit(*b, g) && (is_remote_ || time_.end_of(*b) >= g.proven))
        end = std::min(end, is_remote_ ? b->begin : std::max(b->begin, g.proven));
    }
    for (const misfortune& m : mischiefs_) {
      if (m.blind_until >= g.begin()) end = std::min(end, m.what->begin);
    }
    for (const deed* r : time_.revokings()) {
      // The fault did not hit a holder that the lock affirmed afterwards.
      if (g.proven <= r->result.end && g.end() <= r->result.end) end = std::min(end, r->begin);
    }
    return end;
  }

  void judge_exclusion() {
    struct interval {
      instant from, to;
      const grant_record* grant;
    };
    std::vector<interval> valid;
    for (const grant_record& g : name_.grants) {
      const instant end = certain_end(g);
      if (g.end() < end) valid.push_back({g.end(), end, &g});
    }
    std::ranges::sort(valid, {}, &interval::from);
    const interval* longest = nullptr;
    for (const interval& v : valid) {
      if (longest != nullptr && v.from < longest->to) {
        violation("a second holder, beside token " + std::to_string(longest->grant->token()) +
                      ", for " + std::to_string((std::min(v.to, longest->to) - v.from) / 1000) +
                      " us",
                  *v.grant);
      }
      if (longest == nullptr || v.to > longest->to) longest = &v;
    }
  }

  // --- P2 ------------------------------------------------------------------------

  /// A grant that may have been made from random bytes counts for nothing here: its token may be
  /// ahead of what the clock gives to the next file.
  void judge_tokens(std::uint64_t& last) {
    const grant_record* previous = nullptr;  // by token
    for (const grant_record& g : name_.grants) {
      if (previous != nullptr && previous->token() == g.token() && !is_scribbled(g) &&
          !is_scribbled(*previous))
        violation("a token was given twice", g);
      previous = &g;
    }

    std::vector<const grant_record*> by_begin;
    std::vector<const grant_record*> by_end;
    for (const grant_record& g : name_.grants) {
      by_begin.push_back(&g);
      by_end.push_back(&g);
    }
    std::ranges::sort(by_begin, {}, &grant_record::begin);
    std::ranges::sort(by_end, {}, &grant_record::end);
    auto earlier = by_end.begin();
    std::uint64_t largest = last;
    for (const grant_record* g : by_begin) {
      for (; earlier != by_end.end() && (*earlier)->end() < g->begin(); ++earlier)
        if ((*earlier)->token() > largest && !is_scribbled(**earlier))
          largest = (*earlier)->token();
      if (g->token() <= largest && !is_parted(*g, g->end())) {
        violation("the token did not grow: there was " + std::to_string(largest) + " before it",
                  *g);
      }
    }
    for (const grant_record& g : name_.grants)
      if (g.token() > last && !is_scribbled(g)) last = g.token();
  }

  // --- P3, P4 --------------------------------------------------------------------

  void judge_losses() {
    for (const grant_record& g : name_.grants) {
      const deed& a = *g.acquired;
      const instant tick =
          a.lease < std::chrono::seconds(1)
              ? 0
              : longest_tick + time_.stalled_for(a.begin - std::min(a.begin, longest_lag), a.begin);
      if (after(a.begin, a.lease) > a.result.to && a.result.to + tick < after(a.begin, a.lease))
        violation("a lease that is too short", g);
      if (a.result.from != never && a.result.from > after(g.end(), a.lease))
        violation("a lease that is too long", g);

      instant lease_from = a.result.from;
      instant lease_to = a.result.to;
      bool is_kept = false;
      for (const deed* d : g.then) {
        is_kept = is_kept || d->kind == deed_kind::keep;
        if (d->kind == deed_kind::renew && !d->succeeded())
          lease_from = std::min(lease_from, earliest_end_of_lease(*d));
        if (!d->is_finished() || d->kind == deed_kind::keep || d->kind == deed_kind::end) continue;
        if (d->succeeded() && d->kind != deed_kind::release && d->result.to != 0) {
          if (d->kind == deed_kind::ask && lease_to < d->begin && !is_kept)
            violation("held beyond its lease", g, d);
          lease_from = d->result.from;
          lease_to = d->result.to;
        } else if (d->result.error == static_cast<int>(errc::lease_lost)) {
          judge_loss(g, *d, lease_from);
        } else if (d->result.error == other_error ||
                   d->result.error == static_cast<int>(errc::not_holder)) {
          violation("an error of another kind", g, d);
        } else if (d->result.error == static_cast<int>(errc::unreachable) &&
                   !may_be_unreachable(*d)) {
          violation("unreachable servers, all of which are there", g, d);
        }
        if (d->succeeded()) judge_blindness(g, *d);
      }
    }
  }

  void judge_loss(const grant_record& g, const deed& d, instant lease_from) {
    const instant end = d.result.end;
    if (is_remote_ && d.kind == deed_kind::release && time_.is_troubled(d.begin, end)) return;
    const bool is_broken = std::ranges::any_of(
        name_.breaks, [&](const deed* b) { return b->begin <= end && may_hit(*b, g); });
    const bool is_revoked = time_.may_be_revoked(g.begin(), end);
    if (lease_from > end && !is_broken && !is_revoked && !is_parted(g, end))
      violation("lost without a reason", g, &d);
  }

  /// P3: a holder notices a mischief.
  void judge_blindness(const grant_record& g, const deed& d) {
    for (const auto& [m, blind_until] : mischiefs_) {
      if (is(*m, mischief_kind::replaced) && m->is_finished() && g.end() < m->begin &&
          blind_until < d.begin && time_.stopped_for(d.process, g.begin(), d.result.end) == 0)
        violation("told that it is held though the file was replaced", g, &d);
    }
  }

  [[nodiscard]] bool is_unfinished_between(const grant_record* before,
                                           const grant_record& g) const {
    return std::ranges::any_of(name_.unfinished, [&](const deed* u) {
      return u->begin <= g.end() && (before == nullptr || time_.end_of(*u) >= before->begin());
    });
  }

  void judge_kinds() {
    const grant_record* before = nullptr;
    for (const grant_record& g : name_.grants) {
      ++out_.grants.at(static_cast<std::size_t>(g.acquired->result.how));
      judge_kind(before, g);
      before = &g;
    }
  }

  /// Whether the etcd lease of that grant, or of a waiter after it, may have ended.
  [[nodiscard]] bool may_end_untold(const grant_record& before, instant by) const {
    const process_record& holder = time_.process(before.acquired->process);
    return holder.dying <= by || before.lease_from <= by ||
           (before.released != nullptr && !before.released->succeeded()) ||
           time_.is_troubled(before.begin(), by) ||
           std::ranges::any_of(name_.acquires, [&](const deed* a) {
             // A waiter that gives up in haste leaves by ending its etcd lease.
             return time_.meets(*a, before.begin(), by) &&
                    ((a->is_finished() && a->result.error != 0) ||
                     time_.is_disturbed(a->process, before.begin(), by));
           });
  }

  [[nodiscard]] bool may_be_broken(const grant_record& g, instant by) const {
    return std::ranges::any_of(name_.breaks,
                               [&](const deed* b) { return b->begin <= by && may_hit(*b, g); });
  }

  /// Whether a session may have reported `m` to the present lockfile (src/file/session.hpp, S8). It
  /// had the file open before `m` and has not looked since.
  [[nodiscard]] bool may_be_told_late(const deed& m, const grant_record& before, instant by) const {
    return std::ranges::any_of(name_.acquires, [&](const deed* a) {
      return a->looked != 0 && a->looked <= time_.end_of(m) && time_.meets(*a, before.begin(), by);
    });
  }

  void judge_kind(const grant_record* before, const grant_record& g) {
    if (is_parted(g, g.end())) return;                           // it may be the first of its file
    if (before != nullptr && before->begin() > g.end()) return;  // of scribbled bytes, if allowed
    if (before != nullptr && is_parted(*before, g.end())) return;
    const instant by = g.end();
    if (is_remote_ && (before == nullptr || may_end_untold(*before, by))) return;
    switch (g.acquired->result.how) {
      case grant_kind::free: {
        if (before == nullptr) return;
        // In a file the word itself says that it was broken; in etcd it is a key beside it.
        const bool is_freed = (before->released != nullptr && before->released->begin <= by) ||
                              (is_remote_ && may_be_broken(*before, by)) ||
                              std::ranges::any_of(name_.removals, [&](const deed* r) {
                                return time_.meets(*r, before->begin(), by);
                              });
        if (!is_freed && !is_unfinished_between(before, g))
          violation("free, though nobody had freed it", g);
        break;
      }
      case grant_kind::broken: {
        const bool was_broken =
            before == nullptr || is_unfinished_between(before, g)
                ? std::ranges::any_of(name_.breaks, [&](const deed* b) { return b->begin <= by; })
                : may_be_broken(*before, by);
        const bool was_deleted = std::ranges::any_of(mischiefs_, [&](const misfortune& m) {
          return m.what->begin <= by && (before == nullptr || m.blind_until >= before->begin() ||
                                         may_be_told_late(*m.what, *before, by));
        });
        if (!was_broken && !was_deleted) violation("broken, though nobody had broken it", g);
        break;
      }
      case grant_kind::expired: {
        const bool has_expired = before != nullptr && before->lease_from <= by;
        const bool may_have = std::ranges::any_of(
            name_.unfinished, [&](const deed* u) { return after(u->begin, u->lease) <= by; });
        if (!has_expired && !may_have) violation("expired, before the end of the lease", g);
        break;
      }
      case grant_kind::abandoned: {
        const bool has_died = before != nullptr &&
                              time_.process(before->acquired->process).dying <= by &&
                              (before->released == nullptr || !before->released->is_finished());
        const bool may_have = std::ranges::any_of(name_.unfinished, [&](const deed* u) {
          return u->begin <= by && time_.process(u->process).dying <= by;
        });
        if (!has_died && !may_have) violation("abandoned by a holder who lives", g);
        break;
      }
    }
  }

  // --- P10 -----------------------------------------------------------------------

  void judge_errors() {
    const auto is_answer = [](int error) {
      return error == 0 || error == static_cast<int>(errc::timed_out) ||
             error == static_cast<int>(errc::cancelled);
    };
    for (const deed* a : name_.acquires) {
      if (!a->is_finished() || is_answer(a->result.error)) continue;
      if (may_be_unreachable(*a)) continue;
      // A damaged file stays damaged until every session has let go of it, and a stopped process
      // does not let go. Opening a file may take 2 s and then fail, if a process was stopped while
      // it set the file up.
      const instant from = a->begin > settling ? a->begin - settling : 0;
      const auto tampers = [&](const deed* d) { return time_.meets(*d, from, a->result.end); };
      const bool is_stuck = a->result.error == static_cast<int>(errc::stuck);
      const bool was_played_with = std::ranges::any_of(name_.mischiefs, tampers) ||
                                   std::ranges::any_of(name_.permissions, tampers);
      const bool may_be_stuck =
          is_stuck && (a->looked == 0 || std::ranges::any_of(name_.removals, tampers));
      if (!was_played_with && !may_be_stuck) {
        out_.add("name " + std::to_string(index_) + ": error " + std::to_string(a->result.error) +
                 " of an acquire at " + std::to_string(a->begin));
      }
    }
  }

  /// Whether the error of `d` is `unreachable`, and has a reason.
  [[nodiscard]] bool may_be_unreachable(const deed& d) const {
    return d.result.error == static_cast<int>(errc::unreachable) &&
           (time_.is_troubled(d.begin, d.result.end) || time_.is_slow_for_others(d) ||
            time_.stopped_for(d.process, d.begin, d.result.end) > 0);
  }

  // --- What the lock protects ------------------------------------------------------

  void judge_register() {
    for (const deed* d : name_.changes) {
      ++out_.changes;
      if (d->result.error == refused_change) ++out_.refused;
    }
    for (const std::string& fault : faults_of_register(name_.changes, time_))
      out_.add("name " + std::to_string(index_) + ", its register is not linearisable: " + fault);
  }

  const timeline& time_;
  std::uint8_t index_;
  const name_record& name_;
  const bool is_remote_;
  report& out_;
  std::vector<misfortune> mischiefs_;
};

const char* sentence(const deed& d) {
  switch (static_cast<wrong_kind>(d.detail)) {
    case wrong_kind::child_holds: return "a forked child holds its parent's lock";
    case wrong_kind::stuck: return "a process did not end: it waits for ever";
    case wrong_kind::exception: return "an exception, or a lock that cannot be opened";
    case wrong_kind::unusable: return "the lock was not to be had when all others were gone";
    case wrong_kind::fenced_off: return "held, and yet a larger token had been there";
  }
  return "?";
}

}  // namespace

void report::add(const report& other) {
  violations.insert(violations.end(), other.violations.begin(), other.violations.end());
  for (std::size_t i = 0; i < bounds; ++i) {
    tallies[i].judged += other.tallies[i].judged;
    tallies[i].within += other.tallies[i].within;
    tallies[i].broken += other.tallies[i].broken;
    tallies[i].barely.insert(tallies[i].barely.end(), other.tallies[i].barely.begin(),
                             other.tallies[i].barely.end());
    tallies[i].worst = std::max(tallies[i].worst, other.tallies[i].worst);
  }
  for (std::size_t i = 0; i < grants.size(); ++i) grants[i] += other.grants[i];
  changes += other.changes;
  refused += other.refused;
  for (const auto& [name, token] : other.last_token)
    last_token[name] = std::max(last_token[name], token);
}

void report::settle() {
  for (tally& t : tallies) {
    if (t.barely.size() > t.judged / 1000)
      violations.insert(violations.end(), t.barely.begin(), t.barely.end());
    t.barely.clear();
  }
}

report check(const std::vector<deed>& deeds, const std::map<std::uint8_t, std::uint64_t>& floors,
             engine of) {
  report out;
  out.last_token = floors;
  const timeline time(deeds);
  for (const deed& d : deeds) {
    const bool is_fenced_off = d.detail == static_cast<std::uint8_t>(wrong_kind::fenced_off);
    if (d.kind == deed_kind::wrong && !(is_fenced_off && time.may_be_revoked(d.begin, d.begin)))
      out.add("name " + std::to_string(d.name) + ", process " + std::to_string(d.process) + ": " +
              sentence(d));
  }
  for (const auto& [index, name] : time.names()) {
    std::uint64_t& last = out.last_token[index];
    judge(time, index, name, of, out).judge_all(last);
    judge_bounds(time, index, name, of, out);
  }
  return out;
}

}  // namespace lockbyfile::torture
