// SPDX-License-Identifier: Apache-2.0
//
// The doing of `run`: wait for the lock, start the command, stay with it, release.
//
// A signal that comes before the command has been started ends us, as it always does, but only when
// our place in the wait queue is given up and the lock is closed (interruption.hpp). From then on
// signals are the command's (signals.hpp, supervisor.hpp).
#pragma once

#include "run_request.hpp"

namespace lockbyfile::cli {

/// Returns the exit code. Throws lock_error if the lock cannot be had for another
/// reason than time.
[[nodiscard]] int carry_out(const run_request& request);

}  // namespace lockbyfile::cli
