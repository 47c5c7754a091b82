// SPDX-License-Identifier: Apache-2.0
//
// The stage that a demo plays on: a temporary directory and a process of its own.
//
// The process that was called only makes the directory, waits and cleans up. So
// whatever ends the play (its end, an exception, Ctrl-C, a crash), all its
// processes are gone and the directory is removed before the command returns.
#pragma once

#include <functional>
#include <string>

#include "demo_plays.hpp"

namespace lockbyfile::demo {

/// Plays in a new directory within `parent` (empty: $TMPDIR or /tmp), which is the
/// current directory of the play. Returns the exit code: 0 held, 1 failed, 128 +
/// signal if a signal ended it.
int on_stage(const std::string& parent, const std::function<verdict()>& play);

}  // namespace lockbyfile::demo
