// SPDX-License-Identifier: Apache-2.0
//
// What every main() of ours does: what the arguments ask for is done, and what is thrown
// ends here, as an exit code.
#pragma once

#include <string>
#include <vector>

#include "command_line.hpp"

namespace lockbyfile::cli {

/// Returns the exit code of main(argc, argv), whose arguments `read` understands.
[[nodiscard]] int whole_program(int argc, char** argv,
                                command_line (*read)(std::vector<std::string> arguments));

}  // namespace lockbyfile::cli
