// SPDX-License-Identifier: Apache-2.0
#include "users.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "loose_thread.hpp"
#include "pointers.hpp"

namespace lockbyfile::cli {

namespace {

constexpr std::chrono::milliseconds longest_wait{50};
constexpr std::chrono::milliseconds longest_wait_in_all{250};  // of a list with many users

using closed_file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

/// The first entry for `uid` in a file like /etc/passwd.
std::optional<std::string> name_in(std::FILE* file, unsigned uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  while (::fgetpwent_r(file, &entry, buffer.data(), buffer.size(), &found) == 0) {
    if (found->pw_uid == uid) return found->pw_name;
  }
  return {};
}

/// Starts `getent passwd UID` with its output in `out`; -1 if it cannot be started.
pid_t start_getent(unsigned uid, int out) {
  const std::vector<std::string> words{"getent", "passwd", std::to_string(uid)};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  pid_t pid = -1;
  if (::posix_spawnp(&pid, "getent", &actions, &attributes, pointers(words).data(), environ) != 0)
    pid = -1;
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return pid;
}

class user_names {
 public:
  std::optional<std::string> name_of(unsigned uid) {
    std::unique_lock lock(mutex_);
    const auto [entry, is_new] = users_.try_emplace(uid);
    user& found = entry->second;  // stays valid: a map's entries do not move
    if (is_new) {
      if (const closed_file local{std::fopen("/etc/passwd", "re"), &std::fclose}) {
        found.name = name_in(local.get(), uid);
      }
      found.is_known = found.name.has_value();
    }
    if (found.is_known || asks_only_files_) return found.name;
    if (!found.is_asked) {
      found.is_asked = start_loose_thread([this, uid] { ask_getent(uid); });
      if (!found.is_asked) return {};
      const auto begin = std::chrono::steady_clock::now();
      answered_.wait_for(lock, std::min<std::chrono::nanoseconds>(longest_wait, may_wait_),
                         [&found] { return found.is_known; });
      may_wait_ -=
          std::min<std::chrono::nanoseconds>(may_wait_, std::chrono::steady_clock::now() - begin);
    }
    return found.name;
  }

  void ask_only_files() {
    const std::lock_guard guard(mutex_);
    asks_only_files_ = true;
    for (const pid_t pid : asked_) ::kill(pid, SIGKILL);
  }

 private:
  struct user {
    std::optional<std::string> name;
    bool is_known = false;
    bool is_asked = false;
  };

  void ask_getent(unsigned uid) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    const closed_file answer{::fdopen(ends[0], "re"), &std::fclose};
    pid_t pid = -1;
    {
      const std::lock_guard guard(mutex_);
      if (!asks_only_files_) pid = start_getent(uid, ends[1]);
      if (pid > 0) asked_.push_back(pid);
    }
    ::close(ends[1]);
    if (pid < 0 || !answer) return;
    const auto name = name_in(answer.get(), uid);
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT);
    const std::lock_guard guard(mutex_);  // before it is reaped, while its pid is still its own
    std::erase(asked_, pid);
    ::waitpid(pid, nullptr, 0);
    users_[uid].name = name;
    users_[uid].is_known = true;
    answered_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable answered_;
  std::map<unsigned, user> users_;
  std::vector<pid_t> asked_;  // processes of getent that run
  std::chrono::nanoseconds may_wait_ = longest_wait_in_all;
  bool asks_only_files_ = false;
};

/// Never destroyed: its threads may outlive everything else.
user_names& the_users() {
  static auto* const names = new user_names;
  return *names;
}

}  // namespace

std::optional<std::string> user_name(unsigned uid) { return the_users().name_of(uid); }

void ask_only_files_for_users() { the_users().ask_only_files(); }

}  // namespace lockbyfile::cli
