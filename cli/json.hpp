// SPDX-License-Identifier: Apache-2.0
//
// Locks as JSON, for `status --json` (one object) and `list --json` (an array). The
// keys are stable; new ones may be added.
//
//   name      string: the name, or the path if it is no NAME.lockfile
//   path      string: of the lockfile, absolute
//   state     string: free | held | expired | abandoned; or unreadable, in list
//   error     string or null: why it is unreadable; then all below is empty
//   twins     array of strings: paths of other locks of a like name (status only)
//   path_base64  string or null: the bytes of path, if they are no UTF-8
//   holder    object or null
//     pid, command
//     host               string; null: this machine
//     uid, user          number; string, or null if the user has no name
//     token              number, exact (below 2^52)
//     since              number: seconds since 1970
//     lease, lease_left  number: seconds; null: no lease
//     alive              boolean: its lifeline is held
//     processes          array: that have its lifeline open, the oldest first, and that we may
//                        look into; null: it cannot be told (a server keeps the lock, or /proc
//                        is of another pid namespace)
//       pid, uid, user
//       state            string: a letter, as ps(1) has it
//       age              number: seconds; or null
//       command_line     array of strings; null: it may not be read
//   waiters   array, first in line first
//     pid, command, host, uid, user
//     waiting            number: seconds
//   grants    array, newest first
//     pid, command, host, uid, user, token, since
//     how                string: free | expired | abandoned | broken
//   last_break  object or null: the last forced opening
//     token              number: of the grant that it ended
//     by                 object: pid, command, host, uid, user
//     at                 number: seconds since 1970
//   last_run    object or null: how the last command of run ended
//     token              number: of its grant
//     duration           number: seconds
//     exit_code          number
//     ended              number: seconds since 1970
//
// Times since 1970 are reckoned from a clock that counts from boot, and rounded to 10 ms, so that
// two looks at one grant show the same. Strings that are no UTF-8 have U+FFFD where it is broken.
#pragma once

#include <lockbyfile/observe.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "open_lifelines.hpp"

namespace lockbyfile::cli {

/// A lock that was looked at; `error` if that failed, and then only `state.path` is set.
struct observed_lock {
  std::string name;
  lock_state state;
  std::error_code error;
  /// Those that keep the holder alive; none if that cannot be told.
  std::optional<std::vector<lifeline_process>> processes = {};
  std::vector<std::string> twins = {};
};

[[nodiscard]] std::string json_text(const observed_lock& lock);
[[nodiscard]] std::string json_text(const std::vector<observed_lock>& locks);

}  // namespace lockbyfile::cli
