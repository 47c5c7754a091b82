// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile run: runs a command while holding a lock.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "action.hpp"

namespace lockbyfile::cli {

/// Describes `run` to the parser `run`. `arguments` are the arguments after "run". Those after NAME
/// are cut off, because the parser must not see them. Throws CLI::ExtrasError (run_arguments.hpp).
void add_run(CLI::App& run, std::vector<std::string>& arguments, action& chosen);

}  // namespace lockbyfile::cli
