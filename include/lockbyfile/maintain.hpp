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

/// Forces the lock open if it is held under the token `expected`. The zero token matches any
/// holder, so do not pass on a zero that observe showed. The holder learns that its lease is lost,
/// and the first waiter is woken. Errors: not_found, token_mismatch (also when the lock is free),
/// and those of opening a named_lock. Does not block. Except: in etcd it exchanges messages with a
/// server, and waits up to 200 ms for a holder to write its token.
LOCKBYFILE_EXPORT void break_lock(std::string_view name, fencing_token expected,
                                  const lock_options& options = {});
LOCKBYFILE_EXPORT void break_lock(std::string_view name, fencing_token expected,
                                  const lock_options& options, std::error_code& ec);

/// Removes the lockfile; an empty file only if its name ends in .lockfile. Sessions that have the
/// file open, waiting or not, move on to the path's next file by themselves; no grant is lost.
/// Errors: not_found, in_use (the lock is held, or the file makes no sense and is open somewhere),
/// stuck, and those of opening a named_lock.
LOCKBYFILE_EXPORT void remove(std::string_view name, const lock_options& options = {});
LOCKBYFILE_EXPORT void remove(std::string_view name, const lock_options& options,
                              std::error_code& ec);

/// Removes every lockfile *.lockfile in `directory` that no process has open, or those of any name
/// (see which_names), and returns their paths. Files that cannot be removed are skipped. Throws
/// lock_error if the directory cannot be read.
LOCKBYFILE_EXPORT std::vector<std::string> prune(const std::string& directory);
LOCKBYFILE_EXPORT std::vector<std::string> prune(const std::string& directory, which_names which);

/// The paths that prune would remove now. Removes nothing; throws as prune does.
[[nodiscard]] LOCKBYFILE_EXPORT std::vector<std::string> prunable(const std::string& directory);
[[nodiscard]] LOCKBYFILE_EXPORT std::vector<std::string> prunable(const std::string& directory,
                                                                  which_names which);

}  // namespace v0
}  // namespace lockbyfile
