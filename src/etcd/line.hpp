// SPDX-License-Identifier: Apache-2.0
//
// line: a lock's keys, and the transactions that change them. Each change is a single Txn and can
// be repeated: if its answer was lost, the repetition recognises what the first try did.
//
// State: the places (key.hpp), each hanging on the etcd lease of a session, and the record.
//
//   (L1) Only the place with the lowest create revision may hold the lock. A new place has a higher
//        one than every other, so places before a given place only ever leave.
//   (L2) A grant is the answer of one Txn. The Txn proves that our place is there and that no place
//        is before it. The grant's token is that answer's revision, the number that etcdctl shows
//        as ETCD_LOCK_REV. The place of an earlier grant was there when that grant got its token. A
//        later revision removed that place, and ours has seen that revision: so tokens grow.
//        A session that comes to a free lock puts its place by that Txn, marked as granted. It
//        keeps that token if the answer is lost. A session that waited only reads, which waits for
//        no disk. It marks its place if it still holds the lock a few ms later (E6), for observers
//        and for breakers. Such a read may even be an old one (a fault of etcd, docs/engines.md):
//        by L1 nobody has come before us since. Our own place may have gone since; a holder has to
//        be notified of that in any case (session.hpp, E4).
//   (L3) A grant ends in two ways. Its etcd lease ends, or a session ends the grant (release,
//        expiry, break). That session writes in the same Txn into the record whose grant it was and
//        how it ended. A waiter may find the record silent about the holder that it saw. Then that
//        holder died.
//   (L4) Every change to a place is guarded by its create revision, which no other place has: an
//        old holder changes nothing.
//
// Who writes what. A session writes its own place. Two others write it as well: a breaker, and a
// session that finds it marked as expired (guarded by the mod revision: a renewal in between wins).
// A crash leaves a place, until etcd ends its lease.
//
// The simpler design that fails: believe the DELETE of the place before ours. Our own may be gone,
// too, by then: the lease ended while we waited. etcdctl had that fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "etcd/client.hpp"
#include "etcd/key.hpp"
#include "etcd/value.hpp"

namespace lockbyfile::etcd {

struct place {
  std::string key;
  std::int64_t created = 0;
  std::int64_t modified = 0;
  std::int64_t lease = 0;
  entry what;

  /// The first place has been granted the lock, but has not shown so, or is about to be granted it.
  [[nodiscard]] bool is_silent() const { return what.is_ours && !what.is_granted; }
  /// 0: not known.
  [[nodiscard]] std::uint64_t token() const {
    if (is_silent()) return 0;
    return what.token != 0 ? what.token : static_cast<std::uint64_t>(modified);
  }
};

/// The result of a Txn about our place.
struct standing {
  bool is_granted = false;
  std::int64_t revision = 0;  // of the answer: the token, if granted
  std::int64_t created = 0;   // of our place; 0: it is not there
  std::optional<place> before;
  bool is_before_first = false;  // the one before us is the first
  std::size_t ahead = 0;         // how many waited when we joined
  std::optional<record> last;
};

class line {
 public:
  line(client& on, lock_keys keys) : on_(on), keys_(std::move(keys)) {}

  /// Takes the lock if there are no places at all; otherwise does nothing. Gives up the place that
  /// the session has.
  grpc::Status try_once(std::int64_t lease, const entry& e, standing& found, instant deadline);
  /// Takes the lock if there are no places; otherwise a place at the end; or finds the present
  /// place.
  grpc::Status join(std::int64_t lease, const entry& granted, const entry& waiting, standing& found,
                    instant deadline);
  /// Takes the lock if no place is before us any more. `first` is the first place, null if it is
  /// not known. Its absence is the proof, and then etcd need not look at all places. Its session
  /// may have come back behind us with a place under the same key: only the create revision shows
  /// that.
  grpc::Status look(std::int64_t lease, std::int64_t created, const place* first, standing& found,
                    instant deadline);
  /// Whether a look is worthwhile. It is if our place or the one before has gone. It is also if
  /// there was no answer, which the look then handles. `before` gets the present state of the
  /// place before ours, if that place is there. etcd need not look at all places.
  bool is_worth_a_look(std::int64_t lease, std::int64_t created, place& before, instant deadline);
  /// Like look, and gives the place up if the lock is not ours.
  grpc::Status take_or_leave(std::int64_t lease, std::int64_t created, standing& found,
                             instant deadline);
  /// Marks our place as granted, unless anything was written there since we joined. Also puts the
  /// record `told`, if there is one.
  grpc::Status show(std::int64_t lease, std::int64_t created, const entry& granted,
                    const record* told, instant deadline);
  /// Removes the place of a holder that is marked as expired. Asks for the record first; nobody
  /// changes the record as long as that place is there.
  grpc::Status take_away(const place& expired, bool& done, instant deadline);

  grpc::Status renew(std::int64_t lease, std::int64_t created, const entry& e, bool& done,
                     instant deadline);
  grpc::Status end(std::int64_t lease, std::int64_t created, const record& r, bool& done,
                   instant deadline);
  /// The lease of the grant has run out: ends the grant if somebody waits, otherwise marks it.
  grpc::Status expire(std::int64_t lease, std::int64_t created, const entry& marked,
                      const record& r, bool& ended, bool& done, instant deadline);

  /// An operator's look and changes.
  grpc::Status read(std::vector<place>& places, std::optional<record>& last, bool& has_record,
                    instant deadline);
  grpc::Status break_open(const place& holder, const history& before, bool& done, instant deadline);
  /// Whether etcd still has this lease; nothing if there was no answer.
  std::optional<bool> has_lease(std::int64_t lease, instant deadline);
  grpc::Status forget(bool& done, instant deadline);

  [[nodiscard]] const lock_keys& keys() const noexcept { return keys_; }

 private:
  grpc::Status transact(const wire::TxnRequest& request, wire::TxnResponse& answer,
                        instant deadline);
  /// `done`: whether its conditions held.
  grpc::Status transact(const wire::TxnRequest& request, bool& done, instant deadline);
  void put_record(wire::TxnRequest& request, const record& r) const;
  void get_record(wire::TxnRequest& request) const;

  client& on_;
  const lock_keys keys_;
};

}  // namespace lockbyfile::etcd
