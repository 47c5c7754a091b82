// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile stop: ends the holder of a lock, and with it the grant.
//
// `break` opens the lock while the old holder still works. `stop` asks the holder to end first:
//
//   SIGTERM           to the process that acquired the lock, if it lives: `run` passes it on to
//                     its command. Otherwise to all that have its lifeline open.
//   --kill-after      SIGKILL. Of `run` its command and all that this has started come first, so
//                     that nothing goes on without the lock. Other children of `run` are spared:
//                     they were started by a shell that became `run` (exec) later.
//   a second later    a process that not even SIGKILL has ended: the grant is broken.
//
// It acts on the one grant that it saw: the end of that grant is its end, whoever has the lock
// then.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

void add_stop(CLI::App& verb, action& chosen);

}  // namespace lockbyfile::cli
