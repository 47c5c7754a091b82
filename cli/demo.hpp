// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile demo: shows the lock at work, with real processes.
#pragma once

#include <CLI/CLI.hpp>

namespace lockbyfile::cli {

/// Adds `demo inner`, `demo sleepers`, `demo hammer` and `demo counter`. Whichever
/// runs sets `exit_code`: 0 if what it shows held, 1 if not.
void add_demo(CLI::App& app, int& exit_code);

}  // namespace lockbyfile::cli
