// SPDX-License-Identifier: Apache-2.0
//
// An operator's looks at locks in etcd and changes to them: the functions of
// include/lockbyfile/observe.hpp and maintain.hpp, with names instead of files. A look does not
// find a lock that nobody has ever held; breaking or removing such a lock finds nothing to do.
#pragma once

#include <lockbyfile/maintain.hpp>
#include <lockbyfile/observe.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace lockbyfile::etcd {

lock_state observe(std::string_view url, const lock_options& options);
/// The same, by servers that answer at once: for the additional facts of an error.
lock_state glance(std::string_view url, const lock_options& options);
void break_lock(std::string_view url, fencing_token expected, const lock_options& options);
void remove(std::string_view url, const lock_options& options);

/// The locks whose names begin with the folder's, as URLs, sorted. Raw locks are not found: their
/// keys look like all others.
std::vector<std::string> list(std::string_view folder);

/// Removes the records of those locks in which nobody has a place.
std::vector<std::string> prune(std::string_view folder);

}  // namespace lockbyfile::etcd
