// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile status and list: show locks, their holders and their waiters.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

void add_status(CLI::App& verb, action& chosen);
void add_list(CLI::App& verb, action& chosen);

}  // namespace lockbyfile::cli
