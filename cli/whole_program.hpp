// SPDX-License-Identifier: Apache-2.0
//
// The common part of every main(): it does what the arguments ask for, and turns an exception into
// an exit code.
#pragma once

#include <string>
#include <vector>

#include "command_line.hpp"

namespace lockbyfile::cli {

/// Returns the exit code of main(argc, argv). `read` parses the arguments.
[[nodiscard]] int whole_program(int argc, char** argv,
                                command_line (*read)(std::vector<std::string> arguments));

}  // namespace lockbyfile::cli
