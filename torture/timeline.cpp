// SPDX-License-Identifier: Apache-2.0
#include "timeline.hpp"

#include <algorithm>

namespace lockbyfile::torture {

namespace {

bool begins_earlier(const deed* a, const deed* b) { return a->begin < b->begin; }

void take_lease(grant_record& g, const outcome& r) {
  g.lease_from = r.from;
  g.lease_to = r.to;
}

/// A long stall may have begun during the witness's sleep of a millisecond.
instant begin_of_stall(const deed& d) {
  const bool is_long = d.result.end - d.begin >= milliseconds(1);
  return is_long ? d.begin - milliseconds(1) : d.begin;
}

}  // namespace

timeline::timeline(const std::vector<deed>& deeds) {
  std::map<std::uint32_t, std::vector<const deed*>> sessions;
  for (const deed& d : deeds) {
    process_record& p = processes_[d.process];
    name_record& n = names_[d.name];
    switch (d.kind) {
      case deed_kind::acquire:
        n.acquires.push_back(&d);
        if (!d.is_finished()) n.unfinished.push_back(&d);
        break;
      case deed_kind::release: n.releases.push_back(&d); break;
      case deed_kind::breaking:
        if (!d.is_finished() || d.succeeded()) n.breaks.push_back(&d);
        break;
      case deed_kind::removing:
        if (!d.is_finished() || d.succeeded()) n.removals.push_back(&d);
        break;
      case deed_kind::mischief:
        (d.detail == static_cast<std::uint8_t>(mischief_kind::chmod) ? n.permissions : n.mischiefs)
            .push_back(&d);
        break;
      case deed_kind::end:
      case deed_kind::kill: p.dying = std::min(p.dying, d.begin); break;
      case deed_kind::gone: p.gone = std::min(p.gone, d.begin); break;
      case deed_kind::stop: p.stops.push_back(&d); break;
      case deed_kind::fork: p.forks.push_back(&d); break;
      case deed_kind::stall:
        if (d.is_finished()) stalls_.push_back({begin_of_stall(d), d.result.end});
        break;
      case deed_kind::change: n.changes.push_back(&d); break;
      case deed_kind::outage:
        outages_.push_back({d.begin, d.is_finished() ? d.result.end + recovery : never});
        break;
      case deed_kind::revoking: revokings_.push_back(&d); break;
      default: break;
    }
    if (d.session != 0) sessions[d.session].push_back(&d);
  }
  for (auto& [pid, p] : processes_) {
    p.dying = std::min(p.dying, p.gone);
    std::ranges::sort(p.stops, begins_earlier);
  }
  for (const deed& d : deeds) {
    const bool waits_for_none = d.kind == deed_kind::release || d.kind == deed_kind::breaking ||
                                d.kind == deed_kind::removing;
    if (waits_for_none && d.is_finished() &&
        d.result.end - d.begin >= slow_call + stopped_for(d.process, d.begin, d.result.end))
      slow_.push_back(&d);
  }
  unite(stalls_);
  unite(outages_);

  for (auto& [id, of_session] : sessions) {
    std::ranges::stable_sort(of_session, begins_earlier);
    for (auto i = of_session.cbegin(); i != of_session.cend();) {
      if ((*i)->kind == deed_kind::acquire && (*i)->succeeded()) {
        add_grant_of(i, of_session.cend(), names_[(*i)->name]);
      } else {
        ++i;
      }
    }
  }
  for (auto& [index, n] : names_) {
    std::ranges::sort(n.acquires, begins_earlier);
    std::ranges::sort(n.releases, begins_earlier);
    std::ranges::stable_sort(n.grants, {}, &grant_record::token);
  }
}

void timeline::add_grant_of(std::vector<const deed*>::const_iterator& at,
                            std::vector<const deed*>::const_iterator end, name_record& name) {
  grant_record g;
  g.acquired = *at;
  g.proven = g.begin();
  take_lease(g, g.acquired->result);
  if (g.lease_from == 0) g.lease_from = g.begin();
  const process_record& holder = process(g.acquired->process);
  g.given_up = holder.dying;
  g.over = holder.gone;
  for (++at; at != end && (*at)->kind != deed_kind::acquire; ++at) {
    const deed& d = **at;
    g.then.push_back(&d);
    switch (d.kind) {
      case deed_kind::keep: g.is_kept_alive = true; break;
      case deed_kind::renew:
        if (!d.succeeded()) g.lease_from = std::min(g.lease_from, earliest_end_of_lease(d));
        [[fallthrough]];
      case deed_kind::ask:
        if (!d.succeeded()) break;
        g.proven = d.begin;
        if (d.result.to != 0) take_lease(g, d.result);
        break;
      case deed_kind::release:
        if (g.released != nullptr) break;
        g.released = &d;
        if (d.succeeded()) g.proven = d.begin;
        g.given_up = std::min(g.given_up, d.begin);
        g.over = std::min(g.over, end_of(d));
        break;
      default: break;
    }
  }
  name.grants.push_back(std::move(g));
}

const process_record& timeline::process(std::uint32_t pid) const {
  static const process_record unknown;
  const auto found = processes_.find(pid);
  return found == processes_.end() ? unknown : found->second;
}

instant timeline::end_of(const deed& d) const {
  return d.is_finished() ? d.result.end : process(d.process).gone;
}

bool timeline::is_disturbed(std::uint32_t pid, instant from, instant to) const {
  const process_record& p = process(pid);
  if (p.dying <= to && p.gone >= from) return true;
  return std::ranges::any_of(p.stops, [&](const deed* s) { return meets(*s, from, to); });
}

instant timeline::stopped_for(std::uint32_t pid, instant from, instant to) const {
  return sum_of(process(pid).stops, from, to);
}

instant timeline::forking_for(std::uint32_t pid, instant from, instant to) const {
  return sum_of(process(pid).forks, from, to);
}

instant timeline::sum_of(const std::vector<const deed*>& deeds, instant from, instant to) const {
  instant sum = 0;
  for (const deed* d : deeds) {
    const instant begin = std::max(d->begin, from);
    const instant end = std::min(end_of(*d), to);
    if (begin < end) sum += end - begin;
  }
  return sum;
}

bool timeline::is_slow_for_others(const deed& d) const {
  return std::ranges::any_of(slow_, [&](const deed* s) {
    return s->process != d.process && meets(*s, d.begin, end_of(d));
  });
}

void timeline::unite(std::vector<span>& spans) {
  std::ranges::sort(spans, {}, &span::from);
  std::vector<span> united;
  for (const span& s : spans) {
    if (united.empty() || united.back().to < s.from) {
      united.push_back(s);
    } else {
      united.back().to = std::max(united.back().to, s.to);
    }
  }
  spans = std::move(united);
}

instant timeline::stalled_for(instant from, instant to) const { return sum_of(stalls_, from, to); }

instant timeline::outage_for(instant from, instant to) const { return sum_of(outages_, from, to); }

instant timeline::sum_of(const std::vector<span>& spans, instant from, instant to) {
  instant sum = 0;
  for (auto s = std::ranges::lower_bound(spans, from, {}, &span::to);
       s != spans.end() && s->from < to; ++s) {
    sum += std::min(s->to, to) - std::max(s->from, from);
  }
  return sum;
}

}  // namespace lockbyfile::torture
