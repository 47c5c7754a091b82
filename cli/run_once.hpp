// SPDX-License-Identifier: Apache-2.0
//
// run --once: takes the lock, unless an inherited grant of that lock is current. So a step can be
// run alone, or by a script that already holds the lock.
#pragma once

#include "run_request.hpp"

namespace lockbyfile::cli {

/// Replaces this process by the command if an inherited grant belongs to the lock and is current.
/// The command runs under that grant, so the options for a new grant do not matter. Returns false
/// if the lock has to be acquired. Throws lock_error if the lock cannot be asked. If the command
/// cannot be started, `code` is the exit code.
[[nodiscard]] bool run_under_inherited_grant(const run_request& request, int& code);

}  // namespace lockbyfile::cli
