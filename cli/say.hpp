// SPDX-License-Identifier: Apache-2.0
//
// The command's messages to people, on stderr. Each message is one line, fit for a terminal. It is
// written in one piece, so that several processes can share a log.
//
// Possibly nobody reads: a pipe is full, a terminal was stopped by Ctrl-S, a log lies on a disk
// that hangs. Our work must not wait for that. So a thread that nobody joins writes, and text that
// it cannot write by the end is dropped.
//
// O_NONBLOCK would be wrong: the flag belongs to the open file, which others share. poll(2) alone
// is not enough: another writer may fill the pipe between poll and write. We use poll(2) alone only
// where no thread can be started (ulimit -u, a container's limit of pids).
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lockbyfile::cli {

/// How much `run` reports about itself.
enum class chattiness {
  quiet,    // only what went wrong
  normal,   // also whom it waits for
  verbose,  // also when it got the lock, and when it gave it back
};

/// Writes "lockbyfile: MESSAGE" and a new line to stderr. Returns when they are written, at once if
/// stderr takes nothing now, and after 10 ms in any case.
void say(std::string_view message);

/// Writes `text` to stderr as it is, some time soon. Never waits.
void write_soon(std::string text);

/// Says the text that `find_out` returns, unless it is empty. `find_out` may take long, so it runs
/// in a thread of its own. If no thread can be started, says `otherwise`, unless it is empty.
void say_when_known(std::function<std::string()> find_out, const std::string& otherwise);

/// For the end of the process: returns when everything is said and written, at once if stderr takes
/// nothing now, and after a second in any case.
void finish_saying();

}  // namespace lockbyfile::cli
