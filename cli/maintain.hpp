// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile break, rm and prune: an operator's tools.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

void add_break(CLI::App& verb, action& chosen);
void add_rm(CLI::App& verb, action& chosen);
void add_prune(CLI::App& verb, action& chosen);

}  // namespace lockbyfile::cli
