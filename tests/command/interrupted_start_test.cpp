// SPDX-License-Identifier: Apache-2.0
//
// A signal that comes when `run` has the lock and has not started its command yet. A tracer holds
// the run at its system calls, so no luck is needed.
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "command/shell.hpp"
#include "support/sanitizers.hpp"

namespace {

/// `lockbyfile run`, which leads a group of its own, held at its system calls.
class traced_run {
 public:
  traced_run(const std::string& directory, const char* seconds) : pid_(::fork()) {
    if (pid_ == 0) {
      ::setpgid(0, 0);
      ::unsetenv("LOCKBYFILE_DIR");
      const struct rlimit none {};
      ::setrlimit(RLIMIT_CORE, &none);
      if (::chdir(directory.c_str()) != 0) ::_exit(99);
      if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(98);
      // Not by a shell, which has a handler of its own for SIGINT.
      ::execl(LOCKBYFILE_COMMAND, "lockbyfile", "run", "x", "sleep", seconds, nullptr);
      ::_exit(99);
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);  // at its exec
    is_traced_ = WIFSTOPPED(status);
    if (!is_traced_) {
      reaped();
    } else {
      ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    }
  }
  ~traced_run() {
    if (pid_ > 0) ::kill(-pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  traced_run(const traced_run&) = delete;
  traced_run& operator=(const traced_run&) = delete;

  [[nodiscard]] bool is_traced() const { return is_traced_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  /// Until it is about to start a process: the one that it does (`is_command`), or the first.
  [[nodiscard]] bool reaches_a_start(bool is_command) {
    int deliver = 0;
    for (;;) {
      int status = 0;
      if (::ptrace(PTRACE_SYSCALL, pid_, nullptr, deliver) != 0) return false;
      if (::waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) {
        reaped();
        return false;
      }
      const bool is_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
      deliver = is_call ? 0 : WSTOPSIG(status);
      if (is_call && is_at_start(is_command)) return true;
    }
  }

  /// Lets it go, and waits: the exit code, or minus the signal; 1000 if it does not end.
  int goes_on_and_ends() {
    ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr);
    for (int i = 0; i < 6000; ++i) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        reaped();
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
      }
      ::usleep(10'000);
    }
    return 1000;
  }

 private:
  void reaped() {
    is_traced_ = false;
    pid_ = -1;
  }

  [[nodiscard]] bool is_at_start(bool is_command) const {
    __ptrace_syscall_info call{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof call, &call) <= 0) return false;
    if (call.op != PTRACE_SYSCALL_INFO_ENTRY) return false;
#ifdef SYS_vfork
    if (call.entry.nr == SYS_vfork) return is_command;
#endif
#ifdef SYS_fork
    if (call.entry.nr == SYS_fork) return !is_command;
#endif
    if (call.entry.nr != SYS_clone || (call.entry.args[0] & CLONE_THREAD) != 0) return false;
    return is_command == ((call.entry.args[0] & CLONE_VFORK) != 0);
  }

  pid_t pid_;
  bool is_traced_ = false;
};

enum class target { run, group };

struct moment {
  const char* name;
  bool at_its_command;
  target to;
  friend std::ostream& operator<<(std::ostream& out, const moment& m) { return out << m.name; }
};

class InterruptedStart : public Command, public ::testing::WithParamInterface<moment> {};

INSTANTIATE_TEST_SUITE_P(When, InterruptedStart,
                         ::testing::Values(moment{"BeforeTheWitnessRunAlone", false, target::run},
                                           moment{"BeforeTheWitnessTheGroup", false, target::group},
                                           moment{"BeforeTheCommandRunAlone", true, target::run},
                                           moment{"BeforeTheCommandTheGroup", true, target::group}),
                         [](const auto& p) { return p.param.name; });

TEST_P(InterruptedStart, EndsAllAndGivesTheLockBack) {
  if (under_sanitizer) GTEST_SKIP() << "a sanitizer's vfork is another";
  for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2}) {
    SCOPED_TRACE(number);
    traced_run run(directory_.path(), "600");
    if (!run.is_traced()) GTEST_SKIP() << "no process may be traced here";
    ASSERT_TRUE(run.reaches_a_start(GetParam().at_its_command));
    EXPECT_EQ(shell("$lockbyfile status -q x").code, 75) << "it has no lock yet: no test at all";
    ASSERT_EQ(::kill(GetParam().to == target::run ? run.pid() : -run.pid(), number), 0);
    const int end = run.goes_on_and_ends();
    EXPECT_TRUE(end == -number || end == 128 + number) << end;
    EXPECT_EQ(shell("$lockbyfile status -q x").code, 0);
  }
}

TEST_P(InterruptedStart, ByAnIgnoredSignalIsNone) {
  if (under_sanitizer) GTEST_SKIP() << "a sanitizer's vfork is another";
  void (*const before)(int) = ::signal(SIGHUP, SIG_IGN);
  traced_run run(directory_.path(), "0");
  ::signal(SIGHUP, before);
  if (!run.is_traced()) GTEST_SKIP() << "no process may be traced here";
  ASSERT_TRUE(run.reaches_a_start(GetParam().at_its_command));
  ASSERT_EQ(::kill(GetParam().to == target::run ? run.pid() : -run.pid(), SIGHUP), 0);
  EXPECT_EQ(run.goes_on_and_ends(), 0);
}

}  // namespace
