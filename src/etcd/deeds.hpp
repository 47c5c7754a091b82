// SPDX-License-Identifier: Apache-2.0
//
// An operator's looks and deeds on locks in etcd: what include/lockbyfile/observe.hpp and
// maintain.hpp say, with names in place of files. A lock that nobody has ever held is not found
// by a look; breaking or removing one finds nothing to do.
#pragma once

#include <lockbyfile/maintain.hpp>
#include <lockbyfile/observe.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace lockbyfile::etcd {

lock_state observe(std::string_view url, const lock_options& options);
/// The same, by servers that answer at once: for what an error tells besides.
lock_state glance(std::string_view url, const lock_options& options);
void break_lock(std::string_view url, fencing_token expected, const lock_options& options);
void remove(std::string_view url, const lock_options& options);

/// The locks whose names begin with the folder's, as URLs, sorted. Raw locks are not found: their
/// keys look like any others.
std::vector<std::string> list(std::string_view folder);

/// Removes the records of those that nobody has a place of.
std::vector<std::string> prune(std::string_view folder);

}  // namespace lockbyfile::etcd
