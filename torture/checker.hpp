// SPDX-License-Identifier: Apache-2.0
//
// checker: does a history keep the promises? A pure function.
//
// What is proved, from what. A record brackets what it records: an acquire that returned
// had its effect between its begin and its end, and a deed without an end between its begin
// and the death of its process. From these brackets follow times at which something was
// *certainly* so, and only those are judged.
//
// P1 Exclusion. A grant is certainly valid from the return of acquire until the first of
//    - the begin of its release, and of its process's death;
//    - the end of its lease, as the lock told it, unless the lock has since affirmed
//      (renew, is_held, release without an error) that it was still held;
//    - the begin of a break that may have hit it;
//    - the begin of a mischief with the file.
//    A stop does not end it. No two such intervals of a name meet. Grants that were begun
//    less than `blindness` after a mischief are left out: until then somebody may go on
//    with the old file (docs/guarantees.md, "Deletion is noticed").
//    The affirmations make this strong: who is told "you hold it" after another was granted
//    the lock is found here, so this is P4, too.
// P2 Tokens. No two grants have the same; and one that was begun after another had returned
//    has a larger one. Grants that are left out of P1 are left out here, too: a token of
//    the old file is smaller, and that is what tokens are for.
// P3 Nothing is lost without a reason: lease_lost, and is_held() false, only after the end of
//    the lease, a break or a mischief. A lease has the length that was asked for. How a
//    grant came is true: *free* only if somebody freed the lock, *expired* only after the end
//    of the lease before it, *abandoned* only if the holder before it died holding.
// P9, P10 Processes note themselves what must not be (deed_kind::wrong). Errors that
//    are no answers come only while a file is, or has just been, tampered with.
//
// P5 to P8, the bounds, are in bounds.hpp. What the locks protect is judged by linearisable.hpp.
//
// Locks in etcd (`engine::etcd`) differ in this:
// - A grant is certainly valid for no longer than the lock said (`certain_for`): a process that
//   is stopped, or reaches no server, loses it when the etcd lease ends. Before that, it may not.
// - A break is told by a message, so until it has come, the lock may say "held": a break ends
//   what is certain, whatever was affirmed later.
// - How a grant came is told where it is known (docs/etcd.md): *free* may be said of a lock
//   whose etcd lease has ended; *abandoned*, of a holder that lives but was stopped, or whose
//   release got lost. While members are out, or processes are stopped, it is not judged.
// - A release whose answer got lost is asked again, and if others have come and gone meanwhile,
//   nobody knows any more how it was: then it says `lease_lost`. While members are out, that is
//   not judged.
// - Errors: `unreachable` while members are out, or have been too slow for others, too, or to who
//   was stopped itself.
// - A grant that etcd may have ended by its fault (`revoking`) is certain until then only.
//
// An acquire whose process was killed in it may have been granted the lock. So it may have
// been the holder before any grant whose acquire returned later.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "history.hpp"

namespace lockbyfile::torture {

/// How long a session may go on with a file that is the path's no more: a tick of the coarse
/// clock, 10 ms at the most, and the millisecond between two looks at the path. And for as
/// long as a processor stood still just then: it may be the one that moves that clock on.
inline constexpr instant blindness = milliseconds(11);

enum class bound : std::uint8_t {
  death,     // P5: a dead holder is noticed
  lease,     // P5: the end of a lease is noticed
  handoff,   // P6: a free lock is taken
  order,     // P7: nobody is overtaken
  patience,  // P8: a wait ends in time
};
inline constexpr std::size_t bounds = 5;
inline constexpr std::array<const char*, bounds> bound_names = {"death", "lease", "handoff",
                                                                "order", "patience"};

enum class engine : std::uint8_t { files, etcd };

struct tally {
  std::uint64_t judged = 0;
  std::uint64_t within = 0;  // the bare bound, without any allowance
  instant worst = 0;         // beyond the bare bound
  std::uint64_t broken = 0;  // beyond bound and allowance
  std::vector<std::string> barely;  // of them, by no more than the yardstick's own error
};

struct report {
  std::vector<std::string> violations;
  std::array<tally, bounds> tallies{};
  std::array<std::uint64_t, 4> grants{};             // by grant_kind
  std::map<std::uint8_t, std::uint64_t> last_token;  // by name: the largest
  std::uint64_t changes = 0;                         // of registers
  std::uint64_t refused = 0;                         // of them, by the fence

  void add(std::string violation) { violations.push_back(std::move(violation)); }
  void add(const report& other);
  /// To be called when all is added: turns what was barely too late into violations, unless it was
  /// at most one in a thousand of the waits that were judged.
  void settle();
};

/// `floors`: by name, the largest token of the time before.
report check(const std::vector<deed>& deeds,
             const std::map<std::uint8_t, std::uint64_t>& floors = {}, engine of = engine::files);

}  // namespace lockbyfile::torture
