// SPDX-License-Identifier: Apache-2.0
//
// The seam to the system (linux/system_calls.hpp) in a test's hands. While this object lives, a
// judge is asked before each call. It may let the call pass, let it fail, or end the process at
// once.
//
//   seam s([](std::string_view call) { return call == "fallocate" ? ENOSPC : 0; });
//
// Calls that a test put into `sys` before stay in force below it. Use one at a time, in tests that
// have one thread. fork copies it, as it copies `sys`.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "linux/system_calls.hpp"

class seam {
 public:
  /// The errno with which the call is to fail, or 0 to let it pass.
  using judge = std::function<int(std::string_view call)>;

  explicit seam(judge before_each) : saved_(lockbyfile::sys) {
    below_ = lockbyfile::sys;
    judge_ = std::move(before_each);
    using calls = lockbyfile::system_calls;
    put<&calls::open>("open");
    put<&calls::close>("close");
    put<&calls::fstat>("fstat");
    put<&calls::lstat>("lstat");
    put<&calls::birth>("birth");
    put<&calls::dirty_pages>("dirty_pages");
    put<&calls::fstatfs>("fstatfs");
    put<&calls::fcntl_lock>("fcntl_lock");
    put<&calls::fallocate>("fallocate");
    put<&calls::fchmod>("fchmod");
    put<&calls::fchown>("fchown");
    put<&calls::linkat>("linkat");
    put<&calls::unlink>("unlink");
    put<&calls::mmap>("mmap");
    put<&calls::munmap>("munmap");
    put<&calls::pread>("pread");
    put<&calls::write>("write");
    put<&calls::file_size_limit>("file_size_limit");
    put<&calls::pwrite>("pwrite");
    put<&calls::clock_gettime>("clock_gettime");
    put<&calls::kernel_clock_gettime>("kernel_clock_gettime");
    put<&calls::futex_wait>("futex_wait");
    put<&calls::futex_wake>("futex_wake");
  }
  ~seam() {
    lockbyfile::sys = saved_;
    judge_ = nullptr;
  }
  seam(const seam&) = delete;
  seam& operator=(const seam&) = delete;

 private:
  template <auto Entry>
  struct hook;
  template <class R, class... A, R (*lockbyfile::system_calls::*Entry)(A...)>
  struct hook<Entry> {
    static inline const char* name = nullptr;
    static R call(A... arguments) {
      if (const int error = judge_(name); error != 0) {
        if (std::string_view(name) == "close") (below_.*Entry)(arguments...);  // as Linux does
        errno = error;
        if constexpr (std::is_pointer_v<R>) {
          return MAP_FAILED;
        } else {
          return -1;
        }
      }
      return (below_.*Entry)(arguments...);
    }
  };

  template <auto Entry>
  static void put(const char* name) {
    hook<Entry>::name = name;
    lockbyfile::sys.*Entry = hook<Entry>::call;
  }

  static inline lockbyfile::system_calls below_{};
  static inline judge judge_;
  lockbyfile::system_calls saved_;
};

/// A filesystem without nameless files (O_TMPFILE), as long as this lives.
class no_nameless_files {
 public:
  no_nameless_files() {
    real_ = std::exchange(lockbyfile::sys.open, [](const char* path, int flags, mode_t mode) {
      if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
      }
      return real_(path, flags, mode);
    });
  }
  ~no_nameless_files() { lockbyfile::sys.open = real_; }
  no_nameless_files(const no_nameless_files&) = delete;
  no_nameless_files& operator=(const no_nameless_files&) = delete;

 private:
  static inline int (*real_)(const char*, int, mode_t) = nullptr;
};

/// Clocks that the test sets, as long as this lives: what they say is the real time plus
/// an offset. Nobody sleeps; a wait moves the clock to its end. One at a time.
class shifted_clocks {
 public:
  shifted_clocks() {
    wall() = steady() = lag() = 0;
    real_clock_ =
        std::exchange(lockbyfile::sys.clock_gettime, [](clockid_t clock, struct timespec* result) {
          const int r = real_clock_(clock, result);
          add(*result, clock == CLOCK_REALTIME ? wall() : steady());
          if (clock == CLOCK_MONOTONIC_COARSE) add(*result, -lag());
          return r;
        });
    real_kernel_clock_ = std::exchange(lockbyfile::sys.kernel_clock_gettime,
                                       [](clockid_t clock, struct timespec* result) {
                                         const int r = real_kernel_clock_(clock, result);
                                         add(*result, steady());
                                         return r;
                                       });
    real_wait_ = std::exchange(lockbyfile::sys.futex_wait, [](const std::uint32_t*, std::uint32_t,
                                                              const struct timespec* deadline) {
      struct timespec now {};
      lockbyfile::sys.clock_gettime(CLOCK_MONOTONIC, &now);
      const std::int64_t left = nanoseconds(*deadline) - nanoseconds(now);
      if (left > 0) steady() += left, wall() += left;
      errno = ETIMEDOUT;
      return -1;
    });
  }
  ~shifted_clocks() {
    lockbyfile::sys.clock_gettime = real_clock_;
    lockbyfile::sys.kernel_clock_gettime = real_kernel_clock_;
    lockbyfile::sys.futex_wait = real_wait_;
  }
  shifted_clocks(const shifted_clocks&) = delete;
  shifted_clocks& operator=(const shifted_clocks&) = delete;

  /// Nanoseconds by which CLOCK_REALTIME, and all other clocks, are ahead.
  static std::int64_t& wall() {
    static std::int64_t offset = 0;
    return offset;
  }
  static std::int64_t& steady() {
    static std::int64_t offset = 0;
    return offset;
  }
  /// By which the coarse clock is behind.
  static std::int64_t& lag() {
    static std::int64_t offset = 0;
    return offset;
  }

 private:
  static std::int64_t nanoseconds(const struct timespec& t) {
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  }
  static void add(struct timespec& t, std::int64_t offset) {
    const std::int64_t sum = nanoseconds(t) + offset;
    t.tv_sec = sum / 1'000'000'000;
    t.tv_nsec = sum % 1'000'000'000;
  }

  static inline int (*real_clock_)(clockid_t, struct timespec*) = nullptr;
  static inline int (*real_kernel_clock_)(clockid_t, struct timespec*) = nullptr;
  static inline int (*real_wait_)(const std::uint32_t*, std::uint32_t,
                                  const struct timespec*) = nullptr;
};
