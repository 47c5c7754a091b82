// SPDX-License-Identifier: Apache-2.0
//
// What a test must leave out under a sanitizer.
#pragma once

#if defined(__has_feature)
#define LOCKBYFILE_HAS_FEATURE(x) __has_feature(x)
#else
#define LOCKBYFILE_HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_THREAD__) || LOCKBYFILE_HAS_FEATURE(thread_sanitizer)
#define LOCKBYFILE_THREAD_SANITIZER true
#else
#define LOCKBYFILE_THREAD_SANITIZER false
#endif

#if defined(__SANITIZE_ADDRESS__) || LOCKBYFILE_HAS_FEATURE(address_sanitizer)
#define LOCKBYFILE_ADDRESS_SANITIZER true
#else
#define LOCKBYFILE_ADDRESS_SANITIZER false
#endif

/// Which takes a child of a process with threads for a continuation of all of them.
inline constexpr bool under_thread_sanitizer = LOCKBYFILE_THREAD_SANITIZER;

/// Whose allocator is forked as it is, locks and all (up to gcc 13 and clang 16).
inline constexpr bool under_address_sanitizer = LOCKBYFILE_ADDRESS_SANITIZER;

/// One that other tools that watch memory cannot work with.
inline constexpr bool under_sanitizer = under_thread_sanitizer || under_address_sanitizer;
