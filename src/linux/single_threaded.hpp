// SPDX-License-Identifier: Apache-2.0
//
// Whether this process has only one thread. Asking costs one load. Code that guards only against
// other threads of the process need not be atomic then.
#pragma once

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>  // glibc 2.32
#endif

namespace lockbyfile {

/// May return false although there is one thread. Between two calls true becomes false only if the
/// caller itself starts a thread.
inline bool is_single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

}  // namespace lockbyfile
