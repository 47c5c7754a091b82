// SPDX-License-Identifier: Apache-2.0
//
// What the command says to people, on stderr: a line each, written in one piece so
// that several processes can share a log, and fit for a terminal.
#pragma once

#include <string_view>

namespace lockbyfile::cli {

/// How much `run` tells about itself.
enum class chattiness {
  quiet,    // only what went wrong
  normal,   // also whom it waits for
  verbose,  // also when it got the lock, and when it gave it back
};

/// Writes "lockbyfile: MESSAGE" and a new line to stderr.
void say(std::string_view message);

}  // namespace lockbyfile::cli
