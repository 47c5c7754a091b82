// SPDX-License-Identifier: Apache-2.0
//
// The seam to the operating system: every call that the engine makes, in one table. A test may
// replace it entry by entry, to drive time and to inject faults. Each entry behaves as the call of
// its name: -1 and errno on failure.
//
// Calls outside it, on purpose (tests/unit/seam_test.cpp finds all others):
//   | call                        | why it needs no entry
//   | ----------------------------+---------------------------------------------------------
//   | getpid, geteuid             | cannot fail, and are only shown
//   | sched_getcpu                | is a hint, and reads memory where the C library has rseq
//   | sigaction, signal, raise,   | handling SIGBUS (file/attachment.cpp): fail only for
//   | pthread_sigmask             | signals that do not exist
//   | pthread_setcancelstate      | of uncancelled.hpp, likewise
//   | mmap, madvise, munmap       | of process_epoch.cpp, for a page that no lock is in; it has
//   |                             | a substitute where they fail
//   | madvise                     | of file/lockfile.cpp: advice, nothing rests on it
//   | access                      | of file/maintain.cpp: whether prune could remove from a
//   |                             | directory
//   | clone, waitpid, signal mask | of apart.cpp, and the calls of its child: where they fail,
//   |                             | the file is looked at as always; nobody waits for that
//   |                             | child without a bound
//   | directories, by             | finding lockfiles, for list and prune, and resolving a
//   | std::filesystem             | name: before there is a lock to be held
//   | access, open, read, write,  | of load_engine.cpp: finding and copying a module, before
//   | close, memfd_create         | there is a lock to be held
//   | threads, mutexes, sleeping  | of the C++ library, for keep_alive, stop requests and FLock
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <time.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace lockbyfile {

struct system_calls {
  int (*open)(const char* path, int flags, mode_t mode);
  int (*close)(int fd);
  int (*fstat)(int fd, struct stat* result);
  int (*lstat)(const char* path, struct stat* result);
  int (*birth)(int fd, std::uint64_t* result);  // of the inode: its time by statx, and its
                                                // generation by ioctl; ENODATA if it has neither
  int (*fstatfs)(int fd, struct statfs* result);
  long (*dirty_pages)(int fd, std::size_t size);  // of its start, by cachestat (Linux 6.5)
  int (*fcntl_lock)(int fd, int command, struct flock* lock);  // F_OFD_SETLK, F_OFD_GETLK
  int (*fallocate)(int fd, off_t offset, off_t length);
  int (*fchmod)(int fd, mode_t mode);
  int (*fchown)(int fd, uid_t user, gid_t group);
  int (*linkat)(int old_dir, const char* old_path, int new_dir, const char* new_path, int flags);
  int (*unlink)(const char* path);
  void* (*mmap)(void* address, std::size_t size, int protection, int flags, int fd, off_t offset);
  int (*munmap)(void* address, std::size_t size);
  ssize_t (*pread)(int fd, void* buffer, std::size_t size, off_t offset);
  ssize_t (*write)(int fd, const void* buffer, std::size_t size);
  int (*file_size_limit)(struct rlimit* result);  // getrlimit of RLIMIT_FSIZE
  ssize_t (*pwrite)(int fd, const void* buffer, std::size_t size, off_t offset);
  int (*clock_gettime)(clockid_t clock, struct timespec* result);
  int (*kernel_clock_gettime)(clockid_t clock, struct timespec* result);  // past the C library

  // FUTEX_WAIT_BITSET on a shared word until the absolute `deadline` on
  // CLOCK_MONOTONIC (null: forever), and FUTEX_WAKE of up to `count` waiters.
  int (*futex_wait)(const std::uint32_t* word, std::uint32_t expected,
                    const struct timespec* deadline);
  int (*futex_wake)(const std::uint32_t* word, int count);
};

extern system_calls sys;

/// Repeats a call that a signal interrupted.
template <class Call>
auto uninterrupted(Call&& call) noexcept {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

}  // namespace lockbyfile
