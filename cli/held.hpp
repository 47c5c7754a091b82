// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile held: whether the grant that this process inherited is current.
//
// LOCKBYFILE_NAME alone tells nothing: a process that outlives its run still has it, and the same
// name may be a lock in another directory. So the lock is asked whether it is held under the
// token of a grant that we inherited (outer_grants.hpp).
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"
#include "options.hpp"

namespace lockbyfile::cli {

void add_held(CLI::App& verb, action& chosen);

/// Whether the inherited grant is one of the lock `address` and current; with an empty name, of
/// any lock. Throws lock_error if that cannot be told.
[[nodiscard]] bool holds_inherited_grant(const lock_address& address);

}  // namespace lockbyfile::cli
