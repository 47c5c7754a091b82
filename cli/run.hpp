// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile run: runs a command while holding a lock.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "action.hpp"

namespace lockbyfile::cli {

/// Adds `run`. `after_name` is what was cut off after NAME (run_arguments.hpp), and must
/// be there when the arguments are parsed.
CLI::App* add_run(CLI::App& app, const std::vector<std::string>& after_name, action& chosen);

}  // namespace lockbyfile::cli
