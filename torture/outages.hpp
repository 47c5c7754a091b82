// SPDX-License-Identifier: Apache-2.0
//
// outages: the outages of members of a cluster. The history records each, from before it begins
// until it is over.
//
// There is one outage at a time, with a rest after it. Mostly it hits one member, every second time
// the leader, so that the others go on. Sometimes it hits two or three for a moment, so that no
// member goes on. Some of these last longer than a TTL: then every holder has to notice in time.
//
// A leader of etcd before 3.4.31 and 3.5.13 has a fault. If it was stopped for a TTL and goes on,
// it revokes leases that were kept alive with its successor meanwhile (docs/engines.md). The holder
// learns of it by its watch, or when it looks after the next keep-alive. The checker allows a
// second for that.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "cluster.hpp"
#include "dice.hpp"
#include "history.hpp"

namespace lockbyfile::torture {

enum class outage_kind : std::uint8_t { killed, stopped, cut_from_peers, cut_from_all };
inline constexpr std::size_t outage_kinds = 4;
inline constexpr std::array<const char*, outage_kinds> outage_names = {
    "killed", "stopped", "cut from the others", "cut from all"};

class outages {
 public:
  outages(cluster& on, history& log, std::uint64_t seed) : on_(on), log_(log), dice_(seed) {}

  /// Ends the outage if that is due. Begins a new one if `may_begin`.
  void befall(bool may_begin);
  void end_all();

  [[nodiscard]] const std::array<std::uint64_t, outage_kinds>& counts() const { return counts_; }
  [[nodiscard]] std::uint64_t of_leaders() const { return of_leaders_; }
  [[nodiscard]] std::uint64_t of_majorities() const { return of_majorities_; }

 private:
  void begin();
  void end();

  cluster& on_;
  history& log_;
  dice dice_;
  outage_kind kind_{};
  std::vector<unsigned> victims_;  // of the current outage
  history::open_deed deed_;
  instant next_ = 0;  // when the next begins, or this one ends
  std::array<std::uint64_t, outage_kinds> counts_{};
  std::uint64_t of_leaders_ = 0;
  std::uint64_t of_majorities_ = 0;
  const bool revokes_late_ = cluster::has_fault_of_late_revocations();
};

}  // namespace lockbyfile::torture
