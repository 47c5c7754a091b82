// SPDX-License-Identifier: Apache-2.0
//
// The one place that asks the system for the names of its users.
#pragma once

#include <optional>
#include <string>

namespace lockbyfile::cli {

/// The login name of the user `uid`, if there is one.
[[nodiscard]] std::optional<std::string> user_name(unsigned uid);

}  // namespace lockbyfile::cli
