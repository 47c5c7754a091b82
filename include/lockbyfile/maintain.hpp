// SPDX-License-Identifier: Apache-2.0
//
// An operator's tools: force a lock open, remove lockfiles that nobody uses.
#pragma once

#include <lockbyfile/export.hpp>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/observe.hpp>
#include <lockbyfile/options.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace lockbyfile {
inline namespace v0 {

/// Forces the lock open if it is held under the token `expected`; the zero token
/// stands for whoever holds it, so do not hand on a zero that observe showed. The holder learns
/// that its lease is lost, the waiter next in line is woken. Errors: not_found, token_mismatch
/// (also when it is free), and those of opening a named_lock. Does not block, but in etcd it
/// takes messages, and waits up to 200 ms for a holder to tell its token.
LOCKBYFILE_EXPORT void break_lock(std::string_view name, fencing_token expected,
                                  const lock_options& options = {});
LOCKBYFILE_EXPORT void break_lock(std::string_view name, fencing_token expected,
                                  const lock_options& options, std::error_code& ec);

/// Removes the lockfile; an empty file only if its name ends in .lockfile. Whoever has it
/// open, waiting or not, moves on to the path's next file by itself; no grant is lost. Errors:
/// not_found, in_use (it is held, or makes no sense and is open somewhere), stuck, and those of
/// opening a named_lock.
LOCKBYFILE_EXPORT void remove(std::string_view name, const lock_options& options = {});
LOCKBYFILE_EXPORT void remove(std::string_view name, const lock_options& options,
                              std::error_code& ec);

/// Removes every lockfile *.lockfile in `directory`, or those of any name (see which_names), that
/// no process has open, and returns their paths. What cannot be removed is passed over. Throws
/// lock_error if the directory cannot be read.
LOCKBYFILE_EXPORT std::vector<std::string> prune(const std::string& directory);
LOCKBYFILE_EXPORT std::vector<std::string> prune(const std::string& directory, which_names which);

/// The paths that prune would remove now. Removes nothing; throws as prune does.
[[nodiscard]] LOCKBYFILE_EXPORT std::vector<std::string> prunable(const std::string& directory);
[[nodiscard]] LOCKBYFILE_EXPORT std::vector<std::string> prunable(const std::string& directory,
                                                                  which_names which);

}  // namespace v0
}  // namespace lockbyfile
