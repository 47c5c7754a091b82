// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile held: whether the grant that this process inherited is current.
//
// LOCKBYFILE_NAME alone proves nothing. A process that outlives its `run` still has the variable,
// and the same name may be a lock in another directory. So `held` asks the lock whether it is held
// under the token of a grant that we inherited (outer_grants.hpp).
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"
#include "options.hpp"

namespace lockbyfile::cli {

void add_held(CLI::App& verb, action& chosen);

/// Whether an inherited grant belongs to the lock `address` and is current. An empty name means
/// any lock. Throws lock_error if the lock cannot be asked.
[[nodiscard]] bool holds_inherited_grant(const lock_address& address);

}  // namespace lockbyfile::cli
