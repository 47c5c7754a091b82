// SPDX-License-Identifier: Apache-2.0
#include "spawn.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "exit_codes.hpp"
#include "pointers.hpp"

namespace lockbyfile::cli {

namespace {

std::string_view variable_of(std::string_view entry) { return entry.substr(0, entry.find('=')); }

/// Our environment with `extra` in it.
std::vector<char*> environment_with(const std::vector<std::string>& extra) {
  std::vector<char*> result = pointers(extra);
  result.pop_back();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const bool is_replaced = std::any_of(extra.begin(), extra.end(), [entry](const auto& e) {
      return variable_of(e) == variable_of(*entry);
    });
    if (!is_replaced) result.push_back(*entry);
  }
  result.push_back(nullptr);
  return result;
}

/// A copy of `fd` for the command. Its number is above those that shell scripts use (0 to 9). If
/// the limit allows it, it is also above those that programs open themselves. The copy is made
/// before the child exists: where a tool turns vfork() into fork(), the child finds `fd` closed.
class shared_copy {
 public:
  explicit shared_copy(int fd) {
    if (fd < 0) return;
    for (const int lowest : {100, 10, 3}) {
      fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
      if (fd_ >= 0) return;
    }
    throw std::system_error(errno, std::system_category(), "cannot share the lifeline");
  }
  ~shared_copy() {
    if (fd_ >= 0) ::close(fd_);
  }
  shared_copy(const shared_copy&) = delete;
  shared_copy& operator=(const shared_copy&) = delete;

  /// In the child: keeps the copy open over exec.
  void keep() const {
    if (fd_ >= 0) ::fcntl(fd_, F_SETFD, 0);
  }

 private:
  int fd_ = -1;
};

/// The child of vfork(). It makes only system calls, since it runs in our memory while we stand
/// still. Returns why it could not become the command.
int become(const command_start& start, pid_t parent, const shared_copy& shared,
           char* const* arguments, char* const* environment) {
  shared.keep();
  if (start.dies_with_us) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(exit_other);  // the parent has died already
  }
  if (start.signals != nullptr) start.signals->give_back();
  ::execvpe(arguments[0], arguments, environment);
  return errno;
}

}  // namespace

pid_t spawn(const command_start& start, std::error_code& ec) {
  const std::vector<char*> arguments = pointers(start.arguments);
  const std::vector<char*> environment = environment_with(start.environment);
  const shared_copy shared(start.shared_descriptor);
  const pid_t parent = ::getpid();
  volatile int error = 0;       // the child writes it
  const pid_t pid = ::vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (pid == 0) {
    // NOLINTNEXTLINE(clang-analyzer-unix.Vfork): it calls nothing but the kernel
    error = become(start, parent, shared, arguments.data(), environment.data());
    ::_exit(exit_code_of_failed_start(error));
  }
  if (pid < 0) error = errno;
  ec.assign(error, std::system_category());
  if (pid > 0 && ec) ::waitpid(pid, nullptr, 0);
  return ec ? -1 : pid;
}

}  // namespace lockbyfile::cli
