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
//     processes          array: processes with its lifeline open that we may look into, oldest
//                        first; null: unknown (a server keeps the lock, or /proc belongs to
//                        another pid namespace)
//       pid, uid, user
//       state            string: a letter, as ps(1) has it
//       age              number: seconds; or null
//       command_line     array of strings; null: we may not read it
//   waiters   array, the first waiter first
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
// Times since 1970 are computed from a clock that counts from boot. They are rounded to 10 ms, so
// that two looks at one grant show the same time. A string that is no UTF-8 has U+FFFD in place of
// its invalid bytes.
#pragma once

#include <lockbyfile/observe.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "open_lifelines.hpp"

namespace lockbyfile::cli {

/// An observed lock. If observing failed, `error` is set and of `state` only `path`.
struct observed_lock {
  std::string name;
  lock_state state;
  std::error_code error;
  /// The processes that keep the holder alive; none if they are unknown.
  std::optional<std::vector<lifeline_process>> processes = {};
  std::vector<std::string> twins = {};
};

[[nodiscard]] std::string json_text(const observed_lock& lock);
[[nodiscard]] std::string json_text(const std::vector<observed_lock>& locks);

}  // namespace lockbyfile::cli
