// SPDX-License-Identifier: Apache-2.0
//
// timeline: a history put in order for the checker. It has the life and the stops of each process.
// It has the grants of each name by token, each with the operations of its holder on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "history.hpp"

namespace lockbyfile::torture {

/// How long a cluster needs after an outage. A member starts, or the others believe that it is back
/// (1 s). Another is elected (1 s). From then on leases are counted anew (2.5 s).
inline constexpr instant recovery = milliseconds(4'500);

/// An election begins when a leader has been silent for this long. A request waits meanwhile.
inline constexpr instant slow_call = milliseconds(500);

/// One grant, and the known facts about its end.
struct grant_record {
  const deed* acquired = nullptr;
  std::vector<const deed*> then;  // ask, renew, release, keep of its holder, in order

  // The lease as last heard of ends between these; `never` if there is none.
  instant lease_from = never;
  instant lease_to = never;
  bool is_kept_alive = false;  // and so may last longer

  // The last time at which the lock affirmed the grant to its holder.
  instant proven = 0;
  // The holder begins to give it up, or to die.
  instant given_up = never;
  // The grant is certainly over since this instant.
  instant over = never;
  const deed* released = nullptr;

  [[nodiscard]] std::uint64_t token() const { return acquired->result.token; }
  [[nodiscard]] instant begin() const { return acquired->begin; }
  [[nodiscard]] instant end() const { return acquired->result.end; }
};

/// A renewal that came too late has still published its lease to others, and so the grant may have
/// ended with that lease. It is the shorter lease if the holder had changed the length.
inline instant earliest_end_of_lease(const deed& failed_renewal) {
  return after(failed_renewal.begin, failed_renewal.lease);
}

struct name_record {
  std::vector<const deed*> acquires;     // by begin: granted, refused and unfinished ones
  std::vector<const deed*> unfinished;   // of them; a process killed there may have had a grant
  std::vector<const deed*> releases;     // by begin
  std::vector<const deed*> breaks;       // those that did something, or may have
  std::vector<const deed*> removals;     // likewise
  std::vector<const deed*> mischiefs;    // except chmod
  std::vector<const deed*> permissions;  // chmod
  std::vector<const deed*> changes;      // of its register
  std::vector<grant_record> grants;      // by token
};

struct process_record {
  instant dying = never;  // it may be dead from here on,
  instant gone = never;   // and is from here on
  std::vector<const deed*> stops;
  std::vector<const deed*> forks;
};

class timeline {
 public:
  /// Keeps pointers into `deeds`.
  explicit timeline(const std::vector<deed>& deeds);

  [[nodiscard]] const std::map<std::uint8_t, name_record>& names() const { return names_; }
  [[nodiscard]] const process_record& process(std::uint32_t pid) const;

  /// The end of `d`; if it has none, when its process was gone.
  [[nodiscard]] instant end_of(const deed& d) const;

  /// Whether `d` was going on at some time between.
  [[nodiscard]] bool meets(const deed& d, instant from, instant to) const {
    return d.begin <= to && end_of(d) >= from;
  }

  /// Whether the process may have been stopped or dead at some time between.
  [[nodiscard]] bool is_disturbed(std::uint32_t pid, instant from, instant to) const;

  /// How long the process may have been stopped between.
  [[nodiscard]] instant stopped_for(std::uint32_t pid, instant from, instant to) const;

  /// How long the process was forking between.
  [[nodiscard]] instant forking_for(std::uint32_t pid, instant from, instant to) const;

  /// How long some processor failed to wake up its witness between.
  [[nodiscard]] instant stalled_for(instant from, instant to) const;

  /// How long members of the cluster were out between, or had been out less than `recovery` before.
  /// Until then leases may last longer than they should, or places in the wait queue may be lost.
  [[nodiscard]] instant outage_for(instant from, instant to) const;
  [[nodiscard]] bool is_troubled(instant from, instant to) const {
    return outage_for(from, to) > 0;
  }

  /// The times when a fault of etcd may have ended any etcd lease.
  [[nodiscard]] const std::vector<const deed*>& revokings() const { return revokings_; }
  [[nodiscard]] bool may_be_revoked(instant from, instant to) const {
    return std::ranges::any_of(revokings_, [&](const deed* r) { return meets(*r, from, to); });
  }

  /// Whether another process meanwhile needed longer than `slow_call` for an operation that never
  /// waits for a lock. Then the servers themselves were slow, for lack of a processor or a disk.
  [[nodiscard]] bool is_slow_for_others(const deed& d) const;

 private:
  struct span {
    instant from, to;
  };
  static void unite(std::vector<span>& spans);
  static instant sum_of(const std::vector<span>& spans, instant from, instant to);
  [[nodiscard]] instant sum_of(const std::vector<const deed*>& deeds, instant from,
                               instant to) const;
  void add_grant_of(std::vector<const deed*>::const_iterator& at,
                    std::vector<const deed*>::const_iterator end, name_record& name);

  std::map<std::uint8_t, name_record> names_;
  std::unordered_map<std::uint32_t, process_record> processes_;
  std::vector<span> stalls_;   // disjoint, in order
  std::vector<span> outages_;  // likewise
  std::vector<const deed*> slow_;
  std::vector<const deed*> revokings_;
};

}  // namespace lockbyfile::torture
