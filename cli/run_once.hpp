// SPDX-License-Identifier: Apache-2.0
//
// run --once: a command that takes the lock, unless the grant that it inherited is one of it. So a
// step can be run alone, or by a script that holds the lock already.
#pragma once

#include "run_request.hpp"

namespace lockbyfile::cli {

/// Replaces this process by the command if the inherited grant is one of the lock and current.
/// The command goes on under that grant: the options for a grant of its own do not matter. Returns
/// false if the lock has to be acquired, and throws lock_error if it cannot be told. `code` is that
/// of a command that cannot be started.
[[nodiscard]] bool run_under_inherited_grant(const run_request& request, int& code);

}  // namespace lockbyfile::cli
