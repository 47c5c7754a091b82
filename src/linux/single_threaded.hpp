// SPDX-License-Identifier: Apache-2.0
//
// Whether this process has one thread only, for the price of one load: then what guards
// against its other threads need not be atomic.
#pragma once

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>  // glibc 2.32
#endif

namespace lockbyfile {

/// May say no where it is so. Does not change to no in between, but by a thread that the
/// caller itself starts.
inline bool is_single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

}  // namespace lockbyfile
