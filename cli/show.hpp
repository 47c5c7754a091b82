// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile status and list: what locks there are, who holds them, who waits.
#pragma once

#include <CLI/CLI.hpp>

namespace lockbyfile::cli {

void add_status(CLI::App& app, int& exit_code);
void add_list(CLI::App& app, int& exit_code);

}  // namespace lockbyfile::cli
