// SPDX-License-Identifier: Apache-2.0
//
// What the programs of the benchmarks have in common: what they can play, by scenario and
// contender, and how they are asked (bench.py).
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
