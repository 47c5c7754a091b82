// SPDX-License-Identifier: Apache-2.0
#include "file/lifeline.hpp"

#include <cerrno>

#include "linux/system_calls.hpp"

namespace lockbyfile::file {

namespace {

int lock_call(int fd, int command, struct flock& lock, byte_range range) noexcept {
  lock.l_whence = SEEK_SET;
  lock.l_start = range.start;
  lock.l_len = range.length;
  lock.l_pid = 0;  // as F_OFD_* require
  int r;
  do {
    r = sys.fcntl_lock(fd, command, &lock);
  } while (r != 0 && errno == EINTR);
  return r;
}

try_result try_lock(int fd, short type, byte_range range) noexcept {
  struct flock lock {};
  lock.l_type = type;
  if (lock_call(fd, F_OFD_SETLK, lock, range) == 0) return try_result::taken;
  return errno == EAGAIN || errno == EACCES ? try_result::busy : try_result::failed;
}

}  // namespace

try_result try_hold(int fd, byte_range range) noexcept { return try_lock(fd, F_WRLCK, range); }

try_result try_reserve(int fd, byte_range range) noexcept { return try_lock(fd, F_RDLCK, range); }

void let_go(int fd, byte_range range) noexcept {
  struct flock lock {};
  lock.l_type = F_UNLCK;
  lock_call(fd, F_OFD_SETLK, lock, range);
}

bool is_held_elsewhere(int fd, byte_range range) noexcept {
  struct flock lock {};
  lock.l_type = F_RDLCK;
  if (lock_call(fd, F_OFD_GETLK, lock, range) != 0) return true;
  return lock.l_type != F_UNLCK;
}

}  // namespace lockbyfile::file
