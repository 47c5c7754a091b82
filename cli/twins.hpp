// SPDX-License-Identifier: Apache-2.0
//
// Twins: different locks, in different lockfiles, whose names are easily confused.
#pragma once

#include <string>
#include <vector>

namespace lockbyfile::cli {

/// The paths of other lockfiles than `path` that a user may mean by `name`. Beside `path`, it is
/// the file with ".lockfile" once more or once less. For a name without a slash, it is also the
/// lockfile of that name here, in $LOCKBYFILE_DIR and in /run/lock. None for a lock on a server.
[[nodiscard]] std::vector<std::string> twins_of(const std::string& name, const std::string& path);

/// The message about `twins`; empty if there are none.
[[nodiscard]] std::string twins_text(const std::vector<std::string>& twins);

}  // namespace lockbyfile::cli
