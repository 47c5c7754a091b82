// SPDX-License-Identifier: Apache-2.0
//
// The common parts of the benchmark programs: their list of plays, by scenario and contender, and
// their command line (bench.py).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "round.hpp"

namespace bench {

using play = std::function<findings(const options&)>;
using plays = std::map<std::string, std::map<std::string, play>>;

/// main() of a program that can play `all`:
///   PROGRAM --list
///   PROGRAM SCENARIO CONTENDER KEY=VALUE...
int program_main(const plays& all, const std::vector<std::string>& arguments);

}  // namespace bench
