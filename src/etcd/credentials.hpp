// SPDX-License-Identifier: Apache-2.0
//
// Who we are to etcd, and which servers we trust. The options count first, then the user in the
// URL, then the environment (include/lockbyfile/options.hpp). Files are read once, when the lock is
// opened.
#pragma once

#include <lockbyfile/options.hpp>
#include <string>

#include "etcd/url.hpp"

namespace lockbyfile::etcd {

struct credentials {
  std::string user;
  std::string password;
  std::string ca;           // PEM; empty: the system's
  std::string certificate;  // PEM
  std::string key;          // PEM

  /// Throws lock_error: invalid_option, or the system's error with the file's path.
  credentials(const address& where, const etcd_access& given);
};

}  // namespace lockbyfile::etcd
