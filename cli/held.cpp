// SPDX-License-Identifier: Apache-2.0
#include "held.hpp"

#include <algorithm>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exit_codes.hpp"
#include "outer_grants.hpp"

namespace lockbyfile::cli {

namespace {

/// The lock, or none if there is no such lock. Throws on every other error.
std::optional<lock_state> look_at(const lock_address& address) {
  lock_options options;
  options.directory = address.directory;
  options.any_filesystem = address.any_filesystem;
  try {
    return observe(address.name, options);
  } catch (const lock_error& error) {
    if (error.code() != errc::not_found) throw;
    return {};
  }
}

}  // namespace

bool holds_inherited_grant(const lock_address& address) {
  std::vector<inherited_grant> grants = inherited_grants();
  if (address.name.empty()) {
    const auto innermost = innermost_grant();
    if (!innermost) return false;
    grants = {*innermost};
  }
  if (grants.empty()) return false;
  const auto state = look_at(
      address.name.empty() ? lock_address{grants[0].path, {}, address.any_filesystem} : address);
  if (!state || state->is_open()) return false;
  return std::any_of(grants.begin(), grants.end(), [&state](const inherited_grant& grant) {
    return grant.token == state->holder->token && is_of(grant, state->path);
  });
}

void add_held(CLI::App& verb, action& chosen) {
  const auto given = std::make_shared<lock_address>();
  verb.add_option("NAME", given->name, "the lock (default: that of LOCKBYFILE_FILE)")
      ->type_name("")
      ->check(is_not_empty);
  add_lock_directory(verb, *given);
  verb.footer(
      "A command of run has inherited its grant: LOCKBYFILE_FILE and LOCKBYFILE_TOKEN are in\n"
      "its environment, and those of the runs around it in LOCKBYFILE_OUTER. The lock is asked\n"
      "whether it is held under that token.\n\n"
      "Exit codes:\n"
      "  0    the inherited grant is one of this lock, and current\n"
      "  1    there is none, or it is over\n"
      "  69, 73 or 77: it cannot be told (not a lockfile of this engine, or no server of\n"
      "       etcd answers; the lockfile cannot be opened; not permitted)");
  verb.callback([given, &chosen] {
    chosen = [given] { return holds_inherited_grant(*given) ? exit_ok : exit_no; };
  });
}

}  // namespace lockbyfile::cli
