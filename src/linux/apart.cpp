// SPDX-License-Identifier: Apache-2.0
#include "linux/apart.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <thread>

namespace lockbyfile {

#ifdef __SANITIZE_THREAD__

/// ThreadSanitizer takes the child for a thread that it has never seen.
int run_apart(int (* /*call*/)(void*), void* /*argument*/) noexcept {
  errno = ENOSYS;
  return -1;
}

bool write_comes_back(int /*fd*/, std::chrono::nanoseconds /*in_time*/) noexcept { return true; }

#else

int run_apart(int (*call)(void*), void* argument) noexcept {
  constexpr std::size_t stack_size = 64 << 10;
  struct alignas(16) block {
    std::byte bytes[16];
  };
  const std::unique_ptr<block[]> stack(new (std::nothrow) block[stack_size / sizeof(block)]);
  if (stack == nullptr) {
    errno = ENOMEM;
    return -1;
  }
  // None of the program's handlers may run in a child that shares its memory.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // No signal at its end, so only a wait with __WCLONE finds it.
  const pid_t child =
      ::clone(call, stack.get() + stack_size / sizeof(block), CLONE_VM | CLONE_VFORK, argument);
  int error = errno;
  int status = 0;
  pid_t ended = -1;
  if (child > 0) {
    do {
      ended = ::waitpid(child, &status, __WCLONE);
      error = errno;
    } while (ended < 0 && error == EINTR);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

namespace {

/// Runs in the child of a process that may have threads, so it makes only system calls.
[[noreturn]] void write_nothing(int fd, std::atomic<bool>& has_begun) noexcept {
#ifdef SYS_close_range
  const auto number = static_cast<unsigned>(fd);
  const bool is_alone = (fd == 0 || ::syscall(SYS_close_range, 0U, number - 1, 0U) == 0) &&
                        ::syscall(SYS_close_range, number + 1, ~0U, 0U) == 0;
  has_begun.store(true);
  if (is_alone) ::syscall(SYS_pwrite64, fd, "", 0, 0);
#else
  (void)fd;
  (void)has_begun;
#endif
  for (;;) ::syscall(SYS_exit_group, 0);
}

}  // namespace

bool write_comes_back(int fd, std::chrono::nanoseconds in_time) noexcept {
  using word = std::atomic<bool>;
  void* const shared =
      ::mmap(nullptr, sizeof(word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return true;
  const auto unmap = [](word* w) { ::munmap(w, sizeof *w); };
  const std::unique_ptr<word, decltype(unmap)> has_begun(new (shared) word(false), unmap);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // As fork, without its handlers, and without a signal at the end: only __WCLONE finds it.
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, 0, 0, 0, 0, 0));
  if (child == 0) write_nothing(fd, *has_begun);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return true;
  // Counts from when the child has begun to run, which a busy machine may delay.
  auto deadline = std::chrono::steady_clock::time_point::max();
  std::chrono::microseconds pause(20);
  for (;;) {
    const pid_t ended = ::waitpid(child, nullptr, __WCLONE | WNOHANG);
    if (ended != 0 && !(ended < 0 && errno == EINTR)) return true;
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) return false;
    if (has_begun->load()) deadline = std::min(deadline, now + in_time);
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::microseconds(5000));
  }
}

#endif

}  // namespace lockbyfile
