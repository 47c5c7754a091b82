// SPDX-License-Identifier: Apache-2.0
//
// Reads the arguments of `lockbyfile demo`. command_line.hpp reads those of all other verbs.
#pragma once

#include <string>
#include <vector>

#include "command_line.hpp"

namespace lockbyfile::cli {

/// Reads the arguments after "demo". The chosen play returns 0 if its claims held, 1 if not.
[[nodiscard]] command_line read_demo_command_line(std::vector<std::string> arguments);

}  // namespace lockbyfile::cli
