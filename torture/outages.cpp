// SPDX-License-Identifier: Apache-2.0
#include "outages.hpp"

#include <utility>

namespace lockbyfile::torture {

namespace {

constexpr instant longest_revoking = milliseconds(1000);

}  // namespace

void outages::befall(bool may_begin) {
  if (now() < next_) return;
  if (!victims_.empty()) return end();
  if (may_begin) begin();
}

void outages::begin() {
  const bool is_for_many = dice_.one_in(6);
  auto victim = static_cast<unsigned>(dice_.pick(0, cluster::members - 1));
  if (dice_.one_in(2)) {
    if (const auto leader = on_.leader()) {
      victim = *leader;
      ++of_leaders_;
    }
  }
  const std::uint64_t many = is_for_many ? dice_.pick(2, cluster::members) : 1;
  for (unsigned i = 0; i < many; ++i) victims_.push_back((victim + i) % cluster::members);
  if (is_for_many) ++of_majorities_;
  kind_ = static_cast<outage_kind>(dice_.pick(0, on_.has_network() ? outage_kinds - 1 : 1));
  ++counts_.at(static_cast<std::size_t>(kind_));

  deed d;
  d.kind = deed_kind::outage;
  d.detail = static_cast<std::uint8_t>(kind_);
  for (const unsigned v : victims_) d.token |= std::uint64_t{1} << v;
  deed_ = log_.begin(d);
  for (const unsigned v : victims_) {
    switch (kind_) {
      case outage_kind::killed: on_.kill(v); break;
      case outage_kind::stopped: on_.stop(v); break;
      case outage_kind::cut_from_peers: on_.net().cut_from_peers(v); break;
      case outage_kind::cut_from_all: on_.net().cut_from_all(v); break;
    }
  }
  next_ = now() + milliseconds(is_for_many ? dice_.pick(100, 3'000) : dice_.pick(100, 3'500));
}

void outages::end() {
  if (kind_ == outage_kind::stopped && revokes_late_) {
    deed d;
    d.kind = deed_kind::revoking;
    d.begin = now();
    outcome r;
    r.end = d.begin + longest_revoking;
    log_.begin(d).finish(r);
  }
  for (const unsigned v : std::exchange(victims_, {})) {
    switch (kind_) {
      case outage_kind::killed: on_.start(v); break;
      case outage_kind::stopped: on_.go_on(v); break;
      case outage_kind::cut_from_peers:
      case outage_kind::cut_from_all: on_.net().mend(v); break;
    }
  }
  deed_.finish({});
  next_ = now() + milliseconds(dice_.pick(0, 1'000));
}

void outages::end_all() {
  if (!victims_.empty()) end();
}

}  // namespace lockbyfile::torture
