// SPDX-License-Identifier: Apache-2.0
//
// The one place that asks the system for the names of its users.
//
// It asks files and getent(1), not the C library's getpwuid(): that loads whatever modules
// the system has for its users, which a static program cannot do.
//
// getent may take seconds, where a directory service is slow or down. Nobody waits for it longer
// than 50 ms for a user, and 250 ms in all: until it has answered, the user has no name.
#pragma once

#include <optional>
#include <string>

namespace lockbyfile::cli {

/// The login name of the user `uid`, if there is one and it is known by now.
[[nodiscard]] std::optional<std::string> user_name(unsigned uid);

/// From now on no process is started to learn a name: for a program that is about to look after
/// processes of its own. One that is being asked is ended.
void ask_only_files_for_users();

}  // namespace lockbyfile::cli
