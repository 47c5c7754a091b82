// SPDX-License-Identifier: Apache-2.0
//
// The arguments of `lockbyfile demo`, as command_line.hpp has those of all other verbs.
#pragma once

#include <string>
#include <vector>

#include "command_line.hpp"

namespace lockbyfile::cli {

/// Reads the arguments, those after "demo". Whichever play is chosen returns 0 if what it
/// shows held, 1 if not.
[[nodiscard]] command_line read_demo_command_line(std::vector<std::string> arguments);

}  // namespace lockbyfile::cli
