// SPDX-License-Identifier: Apache-2.0
//
// A lock's name that asks for etcd:
//
//   etcd://[USER@]HOST[:PORT],.../NAME[?OPTION&...]      etcds:// the same over TLS
//
//   - HOST is a name, an IPv4 address, or an IPv6 address in brackets. PORT is 2379 by default.
//   - NAME is not empty. Slashes divide it into non-empty parts. Except with raw, where any name is
//     allowed, also /my-lock and my-lock/. %XX stands for a byte.
//   - ttl=N: seconds, from 1 to 3600 (default 10): how long after its death a holder's lock opens.
//   - raw: the keys are NAME/LEASE, the same as of `etcdctl lock NAME` (key.hpp).
//
// A password in a URL is refused: others can read command lines and logs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lockbyfile::etcd {

struct address {
  bool tls = false;
  std::vector<std::string> endpoints;  // HOST:PORT
  std::string user;                    // may be empty
  std::string name;                    // decoded
  unsigned ttl = 10;                   // seconds
  bool raw = false;

  /// The URL in its one canonical form, by which the lock can be opened again.
  [[nodiscard]] std::string text() const { return text_of(name); }
  /// The same for another name on the same servers.
  [[nodiscard]] std::string text_of(std::string_view other_name) const;
  /// The endpoints, for messages.
  [[nodiscard]] std::string servers() const;
};

/// Throws lock_error: invalid_name, with what is wrong and never with a password.
address parse_url(std::string_view url);

/// The same for the argument of `list`: NAME may be empty, and may end in a slash.
address parse_folder(std::string_view url);

}  // namespace lockbyfile::etcd
