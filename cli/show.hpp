// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile status and list: what locks there are, who holds them, who waits.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

void add_status(CLI::App& verb, action& chosen);
void add_list(CLI::App& verb, action& chosen);

}  // namespace lockbyfile::cli
