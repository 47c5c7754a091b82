// SPDX-License-Identifier: Apache-2.0
//
// The grants under which this process was started: by `lockbyfile run`, and by the runs around that
// one. They are in its environment:
//
//   LOCKBYFILE_FILE, LOCKBYFILE_TOKEN   the innermost
//   LOCKBYFILE_OUTER                    the others, a line each: TOKEN, a blank, FILE
//
// The environment outlives the grants, so each is compared with its lock.
#pragma once

#include <string>

namespace lockbyfile::cli {

/// Whether the lock `path` is held at this moment under one of those grants. To wait for it would
/// be to wait for a process that waits for us.
[[nodiscard]] bool is_held_for_us(const std::string& path);

/// The value of LOCKBYFILE_OUTER for a command that gets LOCKBYFILE_FILE and LOCKBYFILE_TOKEN of a
/// grant of ours: those sixteen grants that are nearest to it. Empty if there are none.
[[nodiscard]] std::string outer_grants();

}  // namespace lockbyfile::cli
