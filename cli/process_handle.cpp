// SPDX-License-Identifier: Apache-2.0
#include "process_handle.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace lockbyfile::cli {

process_handle::process_handle(pid_t pid)
    : fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))) {
  if (fd_ < 0 && errno != ESRCH && errno != EINVAL) {
    throw std::system_error(errno, std::system_category(),
                            "cannot open process " + std::to_string(pid));
  }
}

process_handle::~process_handle() {
  if (fd_ >= 0) ::close(fd_);
}

bool process_handle::has_ended() const noexcept {
  if (fd_ < 0) return true;
  pollfd p{fd_, POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

int process_handle::signal(int number) const noexcept {
  if (fd_ < 0) return ESRCH;
  return ::syscall(SYS_pidfd_send_signal, fd_, number, nullptr, 0U) == 0 ? 0 : errno;
}

}  // namespace lockbyfile::cli
