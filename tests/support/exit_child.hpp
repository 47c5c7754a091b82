// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#ifdef LOCKBYFILE_COVERAGE
extern "C" void __gcov_dump();  // NOLINT: GCC's name
#endif

/// Ends a forked child at once; what GCC counted in it is not lost.
[[noreturn]] inline void exit_child(int code) {
#ifdef LOCKBYFILE_COVERAGE
  __gcov_dump();
#endif
  ::_exit(code);
}
