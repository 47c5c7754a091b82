// SPDX-License-Identifier: Apache-2.0
//
// From a lock's name to its keys.
//
//                  a place                  the record
//   jobs/nightly   jobs/nightly:lock/HEX    jobs/nightly:lock
//   with ?raw      jobs/nightly/HEX         -
//
// HEX is the number of the etcd lease that the key hangs on, as `etcdctl lock` writes it: one place
// per session. The key with the lowest create revision belongs to the holder. The others wait in
// the order of their create revisions.
//
// (K1) No key of one lock begins with the prefix of another, and no foreign key does by accident.
//      The character `:` never appears in an encoded name: every byte except letters, digits and
//      `-._~/` is %XX. So `n` (n:lock/) does not wait for `n/b` (n/b:lock/…). Nor does it wait for
//      somebody's key `n/config`, nor for a lock called `n:lock/x`.
// (K2) `etcdctl lock 'jobs/nightly:lock'` shares the lock with us. With ?raw we share
//      `etcdctl lock jobs/nightly`, and every key below `jobs/nightly/` takes part in it. That is
//      how etcdctl's lock works, and why ?raw is not the default.
//
// The record says how the last grant ended. It is kept without a lease, so that the next holder can
// tell a release from a death. Raw locks have no record, because the namespace is not ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lockbyfile::etcd {

enum class escape_slash { no, yes };

/// `text` with %XX for every byte except letters, digits and -._~, and / if asked.
std::string escaped(std::string_view text, escape_slash slash);

struct lock_keys {
  lock_keys(std::string_view name, bool raw);

  std::string prefix;      // of the places
  std::string prefix_end;  // the first key after them
  std::string record;      // empty: none

  [[nodiscard]] std::string place(std::int64_t lease) const;
};

/// The name whose record or place `key` is, if it is one of a lock that is not raw.
std::optional<std::string> name_of_key(std::string_view key);

}  // namespace lockbyfile::etcd
