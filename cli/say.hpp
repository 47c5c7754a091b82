// SPDX-License-Identifier: Apache-2.0
//
// What the command says to people, on stderr: a line each, written in one piece so
// that several processes can share a log, and fit for a terminal.
//
// Nobody may be reading: a pipe is full, a terminal was stopped by Ctrl-S, a log lies on a disk
// that hangs. What we do must not wait for that. So a thread that nobody joins writes, and what
// it cannot write by the end is dropped. O_NONBLOCK is no way: the flag belongs to the open file,
// which others share. Nor is poll(2) alone: another writer may fill the pipe between poll and
// write. It has to do where no thread can be started (ulimit -u, a container's limit of pids).
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lockbyfile::cli {

/// How much `run` tells about itself.
enum class chattiness {
  quiet,    // only what went wrong
  normal,   // also whom it waits for
  verbose,  // also when it got the lock, and when it gave it back
};

/// Writes "lockbyfile: MESSAGE" and a new line to stderr. Returns when that is written; at once
/// if stderr takes nothing now, and after 10 ms in any case.
void say(std::string_view message);

/// Writes `text` to stderr as it is, some time soon. Never waits.
void write_soon(std::string text);

/// Says what `find_out` returns, if anything, from a thread of its own: for what takes long to find
/// out. Where there can be no thread, it says `otherwise`, if that is anything.
void say_when_known(std::function<std::string()> find_out, const std::string& otherwise);

/// Before the process ends: returns when everything is said and written; at once if stderr takes
/// nothing now, and after a second in any case.
void finish_saying();

}  // namespace lockbyfile::cli
