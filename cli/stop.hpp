// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile stop: ends the holder of a lock, and with it the grant.
//
// `break` opens the lock while the old holder still works. `stop` asks the holder to end first:
//
//   SIGTERM           to the process that acquired the lock, if it lives. (`run` passes it to its
//                     command.) Otherwise to all processes that have its lifeline open.
//   --kill-after      SIGKILL. If the holder is `run`, its command and all processes started by
//                     that get it first, so that none goes on without the lock. Other children of
//                     `run` are spared. A shell started them and became `run` (exec) later.
//   a second later    breaks the grant, if not even SIGKILL has ended a process.
//
// `stop` acts on the one grant that it saw. It is done when that grant has ended, even if the lock
// has a new holder then.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

void add_stop(CLI::App& verb, action& chosen);

}  // namespace lockbyfile::cli
