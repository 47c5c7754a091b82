// SPDX-License-Identifier: Apache-2.0
//
// Carries out `run`: wait for the lock, start the command, stay with it, release.
//
// A signal that arrives before the command has been started ends us. Before we die we give up our
// place in the wait queue and close the lock (interruption.hpp). After the start, signals are the
// command's (signals.hpp, supervisor.hpp).
#pragma once

#include "run_request.hpp"

namespace lockbyfile::cli {

/// Returns the exit code. Throws lock_error if acquiring fails for any reason except time.
[[nodiscard]] int carry_out(const run_request& request);

}  // namespace lockbyfile::cli
