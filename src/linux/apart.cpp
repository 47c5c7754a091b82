// SPDX-License-Identifier: Apache-2.0
#include "linux/apart.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>

namespace lockbyfile {

#ifdef __SANITIZE_THREAD__

/// ThreadSanitizer takes the child for a thread that it has never seen.
int run_apart(int (* /*call*/)(void*), void* /*argument*/) noexcept {
  errno = ENOSYS;
  return -1;
}

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
  // No handler of the program's runs in a child that shares its memory.
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

#endif

}  // namespace lockbyfile
