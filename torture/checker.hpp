// SPDX-License-Identifier: Apache-2.0
//
// checker: does a history keep the promises? A pure function.
//
// A record brackets its operation. An acquire that returned had its effect between its begin and
// its end. An operation without an end had its effect between its begin and the death of its
// process. From these brackets follow times at which a state was *certain*. Only those are judged.
//
// P1 Exclusion. A grant is certainly valid from the return of acquire until the first of
//    - the begin of its release, and of its process's death;
//    - the end of its lease, as the lock reported it, unless the lock has since affirmed
//      (renew, is_held, release without an error) that it was still held;
//    - the begin of a break that may have hit it;
//    - the begin of a mischief with the file.
//    A stop does not end it. No two of these intervals of a name overlap. Grants that began less
//    than `blindness` after a mischief are left out: until then a session may go on with the old
//    file (docs/guarantees.md, "Deletion is noticed").
//    The affirmations make this strong. A holder that the lock affirms after another was granted
//    the lock is found here, so this check is P4, too.
// P2 Tokens. No two grants have the same token. A grant that began after another had returned has
//    a larger token. Grants that are left out of P1 are left out here, too: a token of the old file
//    is smaller, and a resource recognizes the old holder by it.
// P3 Nothing is lost without a reason. A holder gets lease_lost, or is_held() false, only after the
//    end of the lease, a break or a mischief. A lease has the length that was asked for. The kind
//    of each grant is true. *free*: somebody freed the lock. *expired*: the lease before it had
//    ended. *abandoned*: the holder before it died holding.
// P9, P10 Processes record themselves what must never happen (deed_kind::wrong). Errors that
//    are no answers come only while a file is, or has just been, tampered with.
//
// bounds.hpp judges P5 to P8, the bounds. linearisable.hpp judges the data that the locks protect.
//
// Locks in etcd (`engine::etcd`) differ in this:
// - A grant is certainly valid for no longer than the lock said (`certain_for`). A process that is
//   stopped, or reaches no server, loses the grant when the etcd lease ends. It must not lose it
//   before.
// - A message reports a break. Until it arrives, the lock may say "held". So a break ends the
//   certainty, even if the lock affirmed the grant later.
// - The kind of a grant is reported as far as it is known (docs/etcd.md). *free* may be reported
//   for a lock whose etcd lease has ended. *abandoned* may be reported for a holder that lives but
//   was stopped, or whose release got lost. While members are out, or processes are stopped, the
//   kind is not judged.
// - A release whose answer got lost is sent again. If others have held the lock meanwhile, nobody
//   knows any more how the first release ended, and the release reports `lease_lost`. While members
//   are out, that is not judged.
// - `unreachable` is allowed while members are out, or have been too slow for others, too. It is
//   also allowed for a process that was stopped itself.
// - A grant that a fault of etcd may have ended (`revoking`) is certain only until then.
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

/// How long a session may go on with a file after the path has stopped leading to it. That is a
/// tick of the coarse clock, at most 10 ms, and the millisecond between two looks at the path. If a
/// processor stood still just then, the checker adds that time: it may be the processor that moves
/// the coarse clock on.
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
  std::uint64_t within = 0;         // the bare bound, without any allowance
  instant worst = 0;                // beyond the bare bound
  std::uint64_t broken = 0;         // beyond bound and allowance
  std::vector<std::string> barely;  // beyond both by no more than the yardstick's own error
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
  /// Call it when all is added. Turns the waits that were barely too late into violations, unless
  /// they are at most one in a thousand of the judged waits.
  void settle();
};

/// `floors`: by name, the largest token of the rounds before.
report check(const std::vector<deed>& deeds,
             const std::map<std::uint8_t, std::uint64_t>& floors = {}, engine of = engine::files);

}  // namespace lockbyfile::torture
