// SPDX-License-Identifier: Apache-2.0
//
// A look at a file by somebody else. When a process closes any descriptor of a file, the kernel
// drops all the process's own POSIX locks (F_SETLK, lockf) on that file. SQLite's are such locks.
// A short-lived child has a table of descriptors of its own, so what it closes harms nobody.
#pragma once

namespace lockbyfile {

/// What `call` returns, from 0 to 254, called in a child that shares our memory while this thread
/// waits for it. -1, with errno, if there can be no child. The program's handlers of SIGCHLD and
/// its waits do not see that child. `call` must not throw.
int run_apart(int (*call)(void*), void* argument) noexcept;

}  // namespace lockbyfile
