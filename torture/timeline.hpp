// SPDX-License-Identifier: Apache-2.0
//
// timeline: a history put in order for the checker. Who lived and stood still when, and
// for each name its grants by token, each with the deeds that its holder did with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "history.hpp"

namespace lockbyfile::torture {

/// Of a cluster: a member starts, or is believed to be back (1 s), another is elected (1 s), and
/// leases are counted anew from then on (2.5 s).
inline constexpr instant recovery = milliseconds(4'500);

/// An election begins when a leader has been silent for this long; who asks meanwhile waits.
inline constexpr instant slow_call = milliseconds(500);

/// One grant, and what is known of its end.
struct grant_record {
  const deed* acquired = nullptr;
  std::vector<const deed*> then;  // ask, renew, release, keep of its holder, in order

  // The lease as last heard of ends between these; `never` if there is none.
  instant lease_from = never;
  instant lease_to = never;
  bool is_kept_alive = false;  // and so may last for longer

  // The holder was told by the lock that it held it, as late as here.
  instant proven = 0;
  // The holder begins to give it up, or to die.
  instant given_up = never;
  // It is certainly not held since.
  instant over = never;
  const deed* released = nullptr;

  [[nodiscard]] std::uint64_t token() const { return acquired->result.token; }
  [[nodiscard]] instant begin() const { return acquired->begin; }
  [[nodiscard]] instant end() const { return acquired->result.end; }
};

/// A renewal that came too late has told others of its lease all the same, and so the grant
/// may have ended with that one. It is the shorter one if the holder had changed it.
inline instant earliest_end_of_lease(const deed& failed_renewal) {
  return after(failed_renewal.begin, failed_renewal.lease);
}

struct name_record {
  std::vector<const deed*> acquires;     // by begin: granted, refused and unfinished ones
  std::vector<const deed*> unfinished;   // of them; whoever was killed there may have had a grant
  std::vector<const deed*> releases;     // by begin
  std::vector<const deed*> breaks;       // those that did something, or may have
  std::vector<const deed*> removals;     // likewise
  std::vector<const deed*> mischiefs;    // but for chmod
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

  /// Whether the process may have been standing still or dead at some time between.
  [[nodiscard]] bool is_disturbed(std::uint32_t pid, instant from, instant to) const;

  /// For how long it may have stood still between.
  [[nodiscard]] instant stopped_for(std::uint32_t pid, instant from, instant to) const;

  /// For how long between it was forking.
  [[nodiscard]] instant forking_for(std::uint32_t pid, instant from, instant to) const;

  /// For how long between some processor did not wake up somebody who had to be.
  [[nodiscard]] instant stalled_for(instant from, instant to) const;

  /// For how long between members of the cluster were out, or had just been: until `recovery`
  /// after that, leases may last longer than they should, or places in line be lost.
  [[nodiscard]] instant outage_for(instant from, instant to) const;
  [[nodiscard]] bool is_troubled(instant from, instant to) const {
    return outage_for(from, to) > 0;
  }

  /// When any etcd lease might be ended.
  [[nodiscard]] const std::vector<const deed*>& revokings() const { return revokings_; }
  [[nodiscard]] bool may_be_revoked(instant from, instant to) const {
    return std::ranges::any_of(revokings_, [&](const deed* r) { return meets(*r, from, to); });
  }

  /// Whether something that never waits for a lock took some other process longer than
  /// `slow_call` meanwhile: the servers themselves were slow, for want of a processor or a disk.
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
