// SPDX-License-Identifier: Apache-2.0
//
// The doing of `run`: wait for the lock, start the command, stay with it, release.
//
// While we wait, signals have their usual effect: Ctrl-C ends us, and our place in
// line is free. From the grant on they are the command's (signals.hpp, supervisor.hpp).
#pragma once

#include "run_request.hpp"

namespace lockbyfile::cli {

/// Returns the exit code. Throws lock_error if the lock cannot be had for another
/// reason than time.
[[nodiscard]] int carry_out(const run_request& request);

}  // namespace lockbyfile::cli
