// SPDX-License-Identifier: Apache-2.0
//
// process_handle: one process, by a pidfd. A signal through it reaches that process or none, even
// if the pid is reused.
#pragma once

#include <sys/types.h>

namespace lockbyfile::cli {

class process_handle {
 public:
  /// Opens the process that has the number `pid` now. The caller verifies afterwards which process
  /// that is. Throws std::system_error if the kernel has no pidfds; see is_open().
  explicit process_handle(pid_t pid);
  ~process_handle();
  process_handle(process_handle&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  process_handle(const process_handle&) = delete;
  process_handle& operator=(const process_handle&) = delete;
  process_handle& operator=(process_handle&&) = delete;

  /// False: there was no such process.
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  [[nodiscard]] bool has_ended() const noexcept;

  /// 0, or the errno: ESRCH if it has ended, EPERM.
  int signal(int number) const noexcept;

 private:
  int fd_;
};

}  // namespace lockbyfile::cli
