// SPDX-License-Identifier: Apache-2.0
//
// A look at a file by somebody else. When a process closes any descriptor of a file, the kernel
// drops all the process's own POSIX locks (F_SETLK, lockf) on that file. SQLite's are such locks.
// A short-lived child has a table of descriptors of its own, so what it closes harms nobody.
//
// And a question whose answer may not come. A write to a frozen filesystem (fsfreeze) waits in the
// kernel for the thaw, and can neither be ended nor told beforehand. So a child asks.
#pragma once

#include <chrono>

namespace lockbyfile {

/// What `call` returns, from 0 to 254, called in a child that shares our memory while this thread
/// waits for it. -1, with errno, if there can be no child. The program's handlers of SIGCHLD and
/// its waits do not see that child. `call` must not throw.
int run_apart(int (*call)(void*), void* argument) noexcept;

/// Whether a write of no bytes to the file comes back `in_time` after it has begun, which on a
/// frozen filesystem it does not. A child that waits has no other descriptor, and ends after the
/// thaw. True as well if there can be no child.
bool write_comes_back(int fd, std::chrono::nanoseconds in_time) noexcept;

}  // namespace lockbyfile
