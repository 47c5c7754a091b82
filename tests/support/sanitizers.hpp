// SPDX-License-Identifier: Apache-2.0
//
// What a test must leave out under a sanitizer.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define LOCKBYFILE_THREAD_SANITIZER true
#elif defined(__has_feature)
#define LOCKBYFILE_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define LOCKBYFILE_THREAD_SANITIZER false
#endif

/// Which does not let a child of a process with threads start threads.
inline constexpr bool under_thread_sanitizer = LOCKBYFILE_THREAD_SANITIZER;
