// SPDX-License-Identifier: Apache-2.0
#include "linux/system_calls.hpp"

#include <linux/fs.h>
#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace lockbyfile {

namespace {

/// In a program that was started without stdout or stderr, our file would become one of them, and
/// other code would write to it. All of ours are close-on-exec.
int real_open(const char* path, int flags, mode_t mode) {
  const int fd = ::open(path, flags, mode);
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(fd);
  errno = error;
  return moved;
}

/// Both are asked. Two inodes can have the same time, if the number was given twice within a tick.
/// The generation is not known to all filesystems.
int real_birth(int fd, std::uint64_t* result) {
  std::uint64_t time = 0;
#ifdef STATX_BTIME
  struct statx s {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &s) == 0 && (s.stx_mask & STATX_BTIME) != 0) {
    time = static_cast<std::uint64_t>(s.stx_btime.tv_sec) * 1'000'000'000 + s.stx_btime.tv_nsec;
  }
#endif
  long generation = 0;  // filesystems write an int
  if (::ioctl(fd, FS_IOC_GETVERSION, &generation) != 0) generation = 0;
  *result = time + (static_cast<std::uint64_t>(static_cast<std::uint32_t>(generation)) << 32);
  if (*result != 0) return 0;
  errno = ENODATA;
  return -1;
}

long real_dirty_pages(int fd, std::size_t size) {
  constexpr long cachestat = 451;  // on all architectures
  const std::uint64_t range[2] = {0, size};
  std::uint64_t counts[5] = {};  // cached, dirty, in writeback, evicted, recently evicted
  if (::syscall(cachestat, fd, range, counts, 0) != 0) return -1;
  return static_cast<long>(counts[1]);
}

int real_fcntl_lock(int fd, int command, struct flock* lock) { return ::fcntl(fd, command, lock); }

int real_fallocate(int fd, off_t offset, off_t length) {
  return ::fallocate(fd, 0, offset, length);
}

int real_file_size_limit(struct rlimit* result) { return ::getrlimit(RLIMIT_FSIZE, result); }

int real_kernel_clock_gettime(clockid_t clock, struct timespec* result) {
  return static_cast<int>(::syscall(SYS_clock_gettime, clock, result));
}

int real_futex_wait(const std::uint32_t* word, std::uint32_t expected,
                    const struct timespec* deadline) {
  return static_cast<int>(::syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline, nullptr,
                                    FUTEX_BITSET_MATCH_ANY));
}

int real_futex_wake(const std::uint32_t* word, int count) {
  return static_cast<int>(::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

}  // namespace

constinit system_calls sys{
    .open = real_open,
    .close = ::close,
    .fstat = ::fstat,
    .lstat = ::lstat,
    .birth = real_birth,
    .fstatfs = ::fstatfs,
    .dirty_pages = real_dirty_pages,
    .fcntl_lock = real_fcntl_lock,
    .fallocate = real_fallocate,
    .fchmod = ::fchmod,
    .fchown = ::fchown,
    .linkat = ::linkat,
    .unlink = ::unlink,
    .mmap = ::mmap,
    .munmap = ::munmap,
    .pread = ::pread,
    .write = ::write,
    .file_size_limit = real_file_size_limit,
    .pwrite = ::pwrite,
    .clock_gettime = ::clock_gettime,
    .kernel_clock_gettime = real_kernel_clock_gettime,
    .futex_wait = real_futex_wait,
    .futex_wake = real_futex_wake,
};

}  // namespace lockbyfile
