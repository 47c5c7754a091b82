// SPDX-License-Identifier: Apache-2.0
//
// The one place that asks the system for the names of its users.
//
// It asks files and getent(1), not the C library's getpwuid(). getpwuid() loads the modules that
// the system has for its users, which a static program cannot do.
//
// getent may take seconds if a directory service is slow or down. We wait for it at most 50 ms for
// one user, and at most 250 ms in all. Until getent has answered, the user has no name.
#pragma once

#include <optional>
#include <string>

namespace lockbyfile::cli {

/// The login name of the user `uid`, if the user has one and it is known by now.
[[nodiscard]] std::optional<std::string> user_name(unsigned uid);

/// From now on no getent is started, and a running one is ended. For a program that is about to
/// look after processes of its own.
void ask_only_files_for_users();

}  // namespace lockbyfile::cli
