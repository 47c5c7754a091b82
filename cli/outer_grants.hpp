// SPDX-License-Identifier: Apache-2.0
//
// The grants under which this process was started: by `lockbyfile run`, and by the runs around that
// one. They are in its environment:
//
//   LOCKBYFILE_FILE, LOCKBYFILE_TOKEN   the innermost
//   LOCKBYFILE_OUTER                    the others, a line each: TOKEN, a blank, FILE. There \n
//                                       is a newline of FILE, and two backslashes are one
//
// The environment outlives the grants, so each is compared with its lock.
#pragma once

#include <lockbyfile/grant.hpp>
#include <optional>
#include <string>
#include <vector>

namespace lockbyfile::cli {

struct inherited_grant {
  std::string path;
  fencing_token token;
};

/// That of LOCKBYFILE_FILE and LOCKBYFILE_TOKEN, current or not.
[[nodiscard]] std::optional<inherited_grant> innermost_grant();

/// All of them, the innermost first, current or not. What makes no sense is left out.
[[nodiscard]] std::vector<inherited_grant> inherited_grants();

/// Whether `grant` is one of the lock `path`, which may lead to the same file in another way.
[[nodiscard]] bool is_of(const inherited_grant& grant, const std::string& path);

/// Whether the lock `path` is held at this moment under one of those grants. To wait for it would
/// be to wait for a process that waits for us.
[[nodiscard]] bool is_held_for_us(const std::string& path);

/// The value of LOCKBYFILE_OUTER for a command that gets LOCKBYFILE_FILE and LOCKBYFILE_TOKEN of a
/// grant of ours: those sixteen grants that are nearest to it. Empty if there are none.
[[nodiscard]] std::string outer_grants();

}  // namespace lockbyfile::cli
