// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile demo: shows the lock at work, with real processes.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

/// Adds `demo inner`, `demo sleepers`, `demo hammer` and `demo counter`. Whichever
/// is chosen returns 0 if what it shows held, 1 if not.
void add_demo(CLI::App& app, action& chosen);

}  // namespace lockbyfile::cli
