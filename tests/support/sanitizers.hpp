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

/// Which takes a child of a process with threads for a continuation of all of them.
inline constexpr bool under_thread_sanitizer = LOCKBYFILE_THREAD_SANITIZER;
