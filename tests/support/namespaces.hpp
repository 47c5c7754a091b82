// SPDX-License-Identifier: Apache-2.0
//
// Other worlds for a process of a test: what a container changes, one thing at a time.
//
// Each works as the `prepare` of a lock_process. They throw where it is not permitted;
// can_enter() asks that before.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>

#include "support/in_child.hpp"

inline void leave_namespaces(int which) {
  if (::unshare(which) != 0) throw std::system_error(errno, std::system_category(), "unshare");
}

/// Becomes the first process of a pid namespace with a /proc of its own: what
/// `unshare --pid --fork --mount-proc` does. The process that was forked for the test stays
/// outside, waits, and takes this one along when it is killed.
inline void enter_pid_namespace() {
  leave_mount_namespace();
  leave_namespaces(CLONE_NEWPID);
  const pid_t first = ::fork();
  if (first < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (first > 0) {
    int status = 0;
    while (::waitpid(first, &status, 0) < 0 && errno == EINTR) {
    }
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::mount("proc", "/proc", "proc", 0, nullptr) != 0)
    throw std::system_error(errno, std::system_category(), "mounting /proc");
}

/// A user namespace in which this user is root, as rootless containers have it.
inline void enter_user_namespace() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  leave_namespaces(CLONE_NEWUSER);
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
  std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  if (::geteuid() != 0) throw std::system_error(EPERM, std::system_category(), "uid_map");
}

/// A user namespace that knows no user: everybody is the overflow uid.
inline void enter_unmapped_user_namespace() { leave_namespaces(CLONE_NEWUSER); }

/// A host of another name and machine id.
inline void enter_another_host() {
  leave_mount_namespace();
  leave_namespaces(CLONE_NEWUTS);
  const std::string name = "host" + std::to_string(::getpid());
  if (::sethostname(name.data(), name.size()) != 0)
    throw std::system_error(errno, std::system_category(), "sethostname");
  // Where there is one.
  (void)::mount("/proc/sys/kernel/random/uuid", "/etc/machine-id", nullptr, MS_BIND, nullptr);
}

inline bool can_enter(const std::function<void()>& world) {
  return run_in_child([&] {
           try {
             world();
           } catch (const std::system_error&) {
             ::_exit(1);
           }
         }) == 0;
}
