// SPDX-License-Identifier: Apache-2.0
//
// The grants under which this process was started: the grant of the nearest `lockbyfile run`, and
// those of the runs around it. The environment lists them:
//
//   LOCKBYFILE_FILE, LOCKBYFILE_TOKEN   the innermost
//   LOCKBYFILE_OUTER                    the others, a line each: TOKEN, a blank, FILE. There \n
//                                       is a newline of FILE, and two backslashes are one
//
// The environment outlives the grants, so each grant is compared with its lock.
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

/// The grant of LOCKBYFILE_FILE and LOCKBYFILE_TOKEN, current or not.
[[nodiscard]] std::optional<inherited_grant> innermost_grant();

/// All inherited grants, the innermost first, current or not. Malformed entries are left out.
[[nodiscard]] std::vector<inherited_grant> inherited_grants();

/// Whether `grant` belongs to the lock `path`. The two paths may lead to the same file in
/// different ways.
[[nodiscard]] bool is_of(const inherited_grant& grant, const std::string& path);

/// Whether the lock `path` is held at this moment under an inherited grant. Waiting for it would
/// deadlock: its holder waits for us.
[[nodiscard]] bool is_held_for_us(const std::string& path);

/// The value of LOCKBYFILE_OUTER for a command whose LOCKBYFILE_FILE and LOCKBYFILE_TOKEN are of
/// our own grant. It lists the sixteen grants nearest to the command. Empty if there are none.
[[nodiscard]] std::string outer_grants();

}  // namespace lockbyfile::cli
