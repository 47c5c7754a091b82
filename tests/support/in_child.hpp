// SPDX-License-Identifier: Apache-2.0
//
// A part of a test that must not happen to the test's own process: it becomes another
// user, mounts something, changes its limits, or dies.
//
//   EXPECT_TRUE(passes_in_child([&] { EXPECT_EQ(…); }));
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/exit_child.hpp"

/// Runs `body` in a forked process and waits for it: its exit code, or 128 + the signal.
/// Without an exit of its own, 0, or 1 if an EXPECT failed or an exception left it.
inline int run_in_child(const std::function<void()>& body) {
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (pid == 0) {
    int code = 0;
    try {
      body();
      code = ::testing::Test::HasFailure() ? 1 : 0;
    } catch (const std::exception& error) {
      std::printf("in a child: %s\n", error.what());
      code = 1;
    }
    std::fflush(stdout);
    exit_child(code);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

inline ::testing::AssertionResult passes_in_child(const std::function<void()>& body) {
  const int code = run_in_child(body);
  if (code == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "the child ended with " << code << ", see above";
}

/// The user nobody, which owns nothing here.
inline constexpr uid_t nobody = 65534;

/// Becomes nobody, for good.
inline void become_nobody() {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
      ::setresuid(nobody, nobody, nobody) != 0) {
    throw std::system_error(errno, std::system_category(), "becoming nobody");
  }
}

/// Whether become_nobody() works; otherwise the test says why it is left out.
inline bool can_become_nobody() { return ::geteuid() == 0; }

/// Mounts of this process are its own from now on. Throws if that is not permitted.
inline void leave_mount_namespace() {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    throw std::system_error(errno, std::system_category(), "a mount namespace of our own");
  }
}

inline void mount_tmpfs(const std::string& where, const std::string& options) {
  if (::mount("none", where.c_str(), "tmpfs", 0, options.c_str()) != 0)
    throw std::system_error(errno, std::system_category(), "mounting " + where);
}

/// Whether this process may mount: asked by trying, in a child.
inline bool can_mount() {
  static const bool can = run_in_child([] {
                            if (::unshare(CLONE_NEWNS) != 0) ::_exit(1);
                            if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
                              ::_exit(1);
                            ::_exit(::mount("none", "/mnt", "tmpfs", 0, "size=16k") == 0 ? 0 : 1);
                          }) == 0;
  return can;
}
