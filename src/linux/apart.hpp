// SPDX-License-Identifier: Apache-2.0
//
// A look at a file by another process. When a process closes any descriptor of a file, the kernel
// drops all the process's own POSIX locks (F_SETLK, lockf) on that file. SQLite uses such locks. A
// short-lived child has its own table of descriptors, so closing one there harms nobody.
//
// The child also asks a question whose answer may not come. A write to a frozen filesystem
// (fsfreeze) waits in the kernel for the thaw. It can neither be ended nor predicted. So a child
// asks.
#pragma once

#include <chrono>

namespace lockbyfile {

/// Calls `call` in a child that shares our memory, while this thread waits for it. Returns the
/// result of `call`, from 0 to 254. -1, with errno, if no child can be made. The program's handlers
/// of SIGCHLD and its waits do not see that child. `call` must not throw.
int run_apart(int (*call)(void*), void* argument) noexcept;

/// Whether a write of no bytes to the file returns `in_time` after it has begun. On a frozen
/// filesystem it does not. A child that waits has no other descriptor, and ends after the thaw.
/// Also true if no child can be made.
bool write_comes_back(int fd, std::chrono::nanoseconds in_time) noexcept;

}  // namespace lockbyfile
