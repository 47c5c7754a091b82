// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile break, rm and prune: an operator's tools.
#pragma once

#include <CLI/CLI.hpp>

namespace lockbyfile::cli {

void add_break(CLI::App& app, int& exit_code);
void add_rm(CLI::App& app, int& exit_code);
void add_prune(CLI::App& app, int& exit_code);

}  // namespace lockbyfile::cli
