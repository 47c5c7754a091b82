// SPDX-License-Identifier: Apache-2.0
//
// Locks that are easily taken for one another: two lockfiles, so two locks.
#pragma once

#include <string>
#include <vector>

namespace lockbyfile::cli {

/// The paths of lockfiles that somebody may mean by `name`, but that are others than the one at
/// `path`: with ".lockfile" once more or once less, beside it; and, for a name without a slash, the
/// one of that name here, in $LOCKBYFILE_DIR and in /run/lock. None for a lock on a server.
[[nodiscard]] std::vector<std::string> twins_of(const std::string& name, const std::string& path);

/// What to say about them; empty if there are none.
[[nodiscard]] std::string twins_text(const std::vector<std::string>& twins);

}  // namespace lockbyfile::cli
