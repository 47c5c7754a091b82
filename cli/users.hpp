// SPDX-License-Identifier: Apache-2.0
//
// The one place that asks the system for the names of its users.
//
// It asks files and getent(1), not the C library's getpwuid(): that loads whatever modules
// the system has for its users, which a static program cannot do.
#pragma once

#include <optional>
#include <string>

namespace lockbyfile::cli {

/// The login name of the user `uid`, if there is one.
[[nodiscard]] std::optional<std::string> user_name(unsigned uid);

}  // namespace lockbyfile::cli
