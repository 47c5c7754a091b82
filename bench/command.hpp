// SPDX-License-Identifier: Apache-2.0
//
// command: a whole process that runs `true` under a lock.
#pragma once

#include <string>
#include <vector>

#include "round.hpp"

namespace bench {

/// HERE in a word stands for a fresh directory.
findings run_command(const options& o, std::vector<std::string> command);

}  // namespace bench
