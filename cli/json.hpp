// SPDX-License-Identifier: Apache-2.0
//
// Locks as JSON, for `status --json` (one object) and `list --json` (an array). The
// keys are stable; new ones may be added.
//
//   name      string: the name, or the path if it is no NAME.lockfile
//   path      string: of the lockfile, absolute
//   state     string: free | held | expired | abandoned; or unreadable, in list
//   error     string or null: why it is unreadable; then all below is empty
//   holder    object or null
//     pid, command
//     uid, user          number; string, or null if the user has no name
//     token              number, exact (below 2^52)
//     since              number: seconds since 1970
//     lease, lease_left  number: seconds; null: no lease
//     alive              boolean: its lifeline is held
//   waiters   array, first in line first
//     pid, command, uid, user
//     waiting            number: seconds
//   grants    array, newest first
//     pid, command, uid, user, token, since
//     how                string: free | expired | abandoned
//
// Strings that are no UTF-8 have U+FFFD where it is broken.
#pragma once

#include <lockbyfile/observe.hpp>
#include <string>
#include <system_error>
#include <vector>

namespace lockbyfile::cli {

/// A lock that was looked at; `error` if that failed, and then only `state.path` is set.
struct observed_lock {
  std::string name;
  lock_state state;
  std::error_code error;
};

[[nodiscard]] std::string json_text(const observed_lock& lock);
[[nodiscard]] std::string json_text(const std::vector<observed_lock>& locks);

}  // namespace lockbyfile::cli
