// SPDX-License-Identifier: Apache-2.0
//
// The stage that a demo plays on: a temporary directory and a process of its own.
//
// The calling process only makes the directory, waits and cleans up. The play may end by itself, by
// an exception, by Ctrl-C or by a crash. In each case all its processes are gone and the directory
// is removed before the command returns.
#pragma once

#include <functional>
#include <string>

#include "demo_plays.hpp"

namespace lockbyfile::demo {

/// Plays in a new directory within `parent` (empty: $TMPDIR or /tmp). The new directory is the
/// current directory of the play. Returns the exit code: 0 if the claims held, 1 if not, 128 +
/// signal if a signal ended the play.
int on_stage(const std::string& parent, const std::function<verdict()>& play);

}  // namespace lockbyfile::demo
