// SPDX-License-Identifier: Apache-2.0
//
// Which process am I? A number that differs between a process and every child
// forked from it, however it was forked, for the price of one load. It lives in a
// page that the kernel wipes in the child (MADV_WIPEONFORK, Linux 4.14); getpid()
// would be a system call, and pthread_atfork alone misses a raw clone().
#pragma once

#include <cstdint>

namespace lockbyfile {

/// Never 0. Async-signal-safe after the first call in the process.
std::uint64_t process_epoch() noexcept;

/// Runs `handler` in every child of fork(), before fork returns there.
void on_fork_in_child(void (*handler)() noexcept);

}  // namespace lockbyfile
