// SPDX-License-Identifier: Apache-2.0
//
// From a lock's name to its file.
#pragma once

#include <string>
#include <string_view>

namespace lockbyfile {

inline constexpr std::string_view lockfile_suffix = ".lockfile";

/// `name`, or its full URL if it lives on servers. It does if it has no slash and the directory has
/// a scheme. The directory is `directory`, or $LOCKBYFILE_DIR, which a setuid program ignores.
///
///   nightly       -> etcd://HOSTS/jobs/nightly?ttl=5, of the directory etcd://HOSTS/jobs?ttl=5
std::string full_name(std::string_view name, const std::string& directory);

/// The absolute path of the lockfile called `name`; nothing is opened or created.
///
///   backup        -> DIRECTORY/backup.lockfile, where DIRECTORY is `directory`, or
///                    $LOCKBYFILE_DIR if that is empty, or the current directory. A setuid
///                    program ignores $LOCKBYFILE_DIR
///   backup.lockfile -> the same file: the suffix is appended once
///   ./locks/db    -> that path
///   scheme://…    -> other engines' (engines.hpp): wrong_engine
///
/// The directory is resolved here, symbolic links and `..` included. So a later chdir or a relinked
/// directory changes nothing. Throws lock_error: invalid_name, wrong_engine, or the system's error
/// if there is no such directory.
std::string resolve(std::string_view name, const std::string& directory);

}  // namespace lockbyfile
