// SPDX-License-Identifier: Apache-2.0
//
// How long the kernel has kept the calling thread, ready to run, from running. The kernel counts
// that exactly, in /proc/thread-self/schedstat. 0 if the kernel has no such file.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "history.hpp"

namespace lockbyfile::torture {

/// For the thread that constructs it, but not for a forked copy of that thread.
class run_delay {
 public:
  run_delay() : fd_(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}
  ~run_delay() {
    if (fd_ >= 0) ::close(fd_);
  }
  run_delay(const run_delay&) = delete;
  run_delay& operator=(const run_delay&) = delete;

  /// Nanoseconds since the thread began.
  [[nodiscard]] instant read() const {
    char text[96];  // "time on a cpu, time waiting for one, turns"
    const ssize_t n = fd_ < 0 ? 0 : ::pread(fd_, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = 0;
    char* second = text;
    (void)std::strtoull(text, &second, 10);
    return std::strtoull(second, nullptr, 10);
  }

 private:
  int fd_;
};

}  // namespace lockbyfile::torture
