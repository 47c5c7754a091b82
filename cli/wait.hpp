// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile wait: waits until a lock is open, without taking it.
#pragma once

#include <CLI/CLI.hpp>

#include "action.hpp"

namespace lockbyfile::cli {

void add_wait(CLI::App& verb, action& chosen);

}  // namespace lockbyfile::cli
