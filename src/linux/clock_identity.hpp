// SPDX-License-Identifier: Apache-2.0
//
// Whose CLOCK_MONOTONIC is it? Two processes may compare instants only if they run
// on the same boot of the same kernel and in the same time namespace.
#pragma once

#include <cstdint>

namespace lockbyfile {

struct clock_identity {
  std::uint64_t boot_id[2] = {0, 0};
  std::uint64_t time_namespace = 0;  // its inode; 0 where there is none, or none to be seen
  friend bool operator==(const clock_identity&, const clock_identity&) = default;
};

/// Of this process; read from /proc once per process. Throws lock_error if /proc
/// does not tell.
clock_identity this_clock();

/// Whether CLOCK_MONOTONIC is the kernel's, by which it also counts our sleep. libfaketime
/// fakes it, and instants of such a process mean nothing to others. Asks the kernel.
bool clock_is_the_kernels() noexcept;

/// Makes the next this_clock() read again. For tests.
void forget_this_clock() noexcept;

}  // namespace lockbyfile
