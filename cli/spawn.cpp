// SPDX-License-Identifier: Apache-2.0
#include "spawn.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace lockbyfile::cli {

namespace {

/// A close-on-exec copy of a descriptor, numbered out of the way of those that shell
/// scripts use (0 to 9) and, if the limit allows it, of what programs open themselves.
class high_copy {
 public:
  explicit high_copy(int fd) {
    if (fd < 0) return;
    for (const int lowest : {100, 10, 3}) {
      fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
      if (fd_ >= 0) return;
    }
    throw std::system_error(errno, std::system_category(), "cannot share the lifeline");
  }
  ~high_copy() {
    if (fd_ >= 0) ::close(fd_);
  }
  high_copy(const high_copy&) = delete;
  high_copy& operator=(const high_copy&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

/// posix_spawn's file actions. They run in the child only.
class file_actions {
 public:
  file_actions() { ::posix_spawn_file_actions_init(&actions_); }
  ~file_actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  file_actions(const file_actions&) = delete;
  file_actions& operator=(const file_actions&) = delete;

  /// POSIX: a dup2 onto itself clears close-on-exec here.
  void share(int fd) { ::posix_spawn_file_actions_adddup2(&actions_, fd, fd); }
  [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

class attributes {
 public:
  explicit attributes(const sigset_t& signal_mask) {
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setsigmask(&attributes_, &signal_mask);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  ~attributes() { ::posix_spawnattr_destroy(&attributes_); }
  attributes(const attributes&) = delete;
  attributes& operator=(const attributes&) = delete;
  [[nodiscard]] const posix_spawnattr_t* get() const noexcept { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

/// Pointers as exec wants them, valid as long as `strings`.
std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& s : strings) result.push_back(const_cast<char*>(s.c_str()));
  result.push_back(nullptr);
  return result;
}

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

/// Where exec would find `command`: the first executable file of that name in PATH.
std::string find_in_path(const std::string& command) {
  if (command.find('/') != std::string::npos) return command;
  const char* variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/bin:/usr/bin";
  while (true) {
    const auto end = path.find(':');
    const std::string directory(path.substr(0, end));
    std::string candidate = (directory.empty() ? "." : directory) + '/' + command;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (end == std::string_view::npos) return command;
    path.remove_prefix(end + 1);
  }
}

}  // namespace

pid_t spawn(const command_start& start, std::error_code& ec) {
  ec.clear();
  file_actions actions;
  const high_copy shared(start.shared_descriptor);
  if (shared.get() >= 0) actions.share(shared.get());
  const attributes with(start.signal_mask);
  const std::vector<char*> environment = environment_with(start.environment);

  pid_t pid = -1;
  std::vector<char*> arguments = pointers(start.arguments);
  int error = ::posix_spawnp(&pid, arguments.front(), actions.get(), with.get(), arguments.data(),
                             environment.data());
  if (error == ENOEXEC) {
    // A script without a "#!" line: run by sh, as shells and execvp(3) do.
    std::vector<std::string> script = start.arguments;
    script.front() = find_in_path(script.front());
    script.insert(script.begin(), "/bin/sh");
    arguments = pointers(script);
    error = ::posix_spawn(&pid, arguments.front(), actions.get(), with.get(), arguments.data(),
                          environment.data());
  }
  if (error != 0) {
    ec = {error, std::system_category()};
    return -1;
  }
  return pid;
}

}  // namespace lockbyfile::cli
