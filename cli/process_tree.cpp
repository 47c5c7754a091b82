// SPDX-License-Identifier: Apache-2.0
#include "process_tree.hpp"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "own_proc.hpp"

namespace lockbyfile::cli {

namespace {

struct process {
  pid_t pid;
  pid_t parent;
  bool is_alive;
};

/// The number that begins at the `n`th word of `text`, from 0.
std::optional<long> number_at(std::string_view text, int n) {
  for (; n > 0; --n) {
    const auto blank = text.find(' ');
    if (blank == std::string_view::npos) return {};
    text.remove_prefix(blank + 1);
  }
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return {};
  return number;
}

/// Reads /proc/PID/stat: "pid (name) state parent ... threads ...", where the name may hold
/// anything, also parentheses. None if the process has just gone.
std::optional<process> read_process(pid_t pid) {
  const auto text = own_proc_text(pid, "stat");
  if (!text) return {};
  const auto after_name = text->rfind(") ");
  if (after_name == std::string::npos) return {};
  const std::string_view rest = std::string_view(*text).substr(after_name + 2);
  if (rest.empty()) return {};
  const auto parent = number_at(rest, 1);
  const auto threads = number_at(rest, 17);
  if (!parent || !threads) return {};
  const bool has_ended = rest[0] == 'X' || (rest[0] == 'Z' && *threads <= 1);
  return process{pid, static_cast<pid_t>(*parent), !has_ended};
}

std::vector<process> all_processes() {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), &::closedir);
  std::vector<process> result;
  if (!proc) return result;
  while (const dirent* entry = ::readdir(proc.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc{} || end != name.data() + name.size()) continue;
    if (const auto found = read_process(pid)) result.push_back(*found);
  }
  return result;
}

bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

bool is_living_child(pid_t pid) {
  siginfo_t info{};
  info.si_pid = 0;
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

/// The pid of the process that was started last.
pid_t newest_pid() {
  const pid_t pid = ::vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (pid == 0) ::_exit(0);
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  return pid;
}

bool contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

/// A process held by a pidfd: its pid stays its own. None before Linux 5.3.
class held_process {
 public:
#ifdef SYS_pidfd_open
  explicit held_process(pid_t pid) : fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
#else
  explicit held_process(pid_t) {}
#endif
  ~held_process() {
    if (fd_ >= 0) ::close(fd_);
  }
  held_process(const held_process&) = delete;
  held_process& operator=(const held_process&) = delete;

  /// To the process that is held, or else to `pid`.
  int signal(pid_t pid, int number) const {
#ifdef SYS_pidfd_send_signal
    if (fd_ >= 0) {
      const long sent = ::syscall(SYS_pidfd_send_signal, fd_, number, nullptr, 0);
      if (sent == 0 || errno != ENOSYS) return static_cast<int>(sent);
    }
#endif
    return ::kill(pid, number);
  }

 private:
  int fd_ = -1;
};

}  // namespace

process_tree::process_tree() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (!has_children()) return;  // nearly always; looking for them would take longer
  strangers_ = living_children();
}

void process_tree::leave_out(pid_t pid) {
  if (pid > 0 && !contains(strangers_, pid)) strangers_.push_back(pid);
}

void process_tree::forget(pid_t pid) {
  if (pid == command_) command_ = -1;
  std::erase(strangers_, pid);
}

/// Without those left out.
std::vector<pid_t> process_tree::living_children() const {
  const pid_t self = ::getpid();
  std::vector<pid_t> found;
  const auto look_at = [&](pid_t pid) {
    if (is_living_child(pid) && !contains(strangers_, pid)) found.push_back(pid);
  };
  if (proc_is_ours()) {
    for (const process& p : all_processes()) {
      if (p.parent == self) look_at(p.pid);
    }
    return found;
  }
  constexpr pid_t largest_pid = 1 << 22;
  const pid_t newest = newest_pid();
  const pid_t oldest = std::max(command_, 2);
  if (newest < oldest) {  // the pids have wrapped around
    for (pid_t pid = oldest; pid <= largest_pid; ++pid) look_at(pid);
  }
  for (pid_t pid = newest < oldest || command_ < 0 ? 2 : oldest; pid <= newest; ++pid) look_at(pid);
  return found;
}

std::vector<pid_t> process_tree::alive() const {
  if (!proc_is_ours()) return living_children();
  const std::vector<process> all = all_processes();
  std::vector<pid_t> found{::getpid()};
  std::vector<pid_t> living;
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const process& p : all) {
      if (p.parent != found[i] || contains(strangers_, p.pid)) continue;
      found.push_back(p.pid);
      if (p.is_alive) living.push_back(p.pid);
    }
  }
  return living;
}

void process_tree::signal_command(int signal) const {
  if (command_ > 0) held_process(command_).signal(command_, signal);
}

std::vector<pid_t> process_tree::signal_all(int signal) const {
  std::vector<pid_t> refused;
  const auto send = [&](const held_process& held, pid_t pid) {
    if (held.signal(pid, signal) != 0 && errno == EPERM) refused.push_back(pid);
  };
  if (command_ > 0) send(held_process(command_), command_);  // before the search for the others
  const std::vector<pid_t> tree = alive();
  for (const pid_t pid : tree) {
    if (pid == command_) continue;
    const held_process held(pid);
    if (!is_living_child(pid)) {
      const auto now = read_process(pid);
      if (!now || !contains(tree, now->parent)) continue;  // gone, or its pid is another's
    }
    send(held, pid);
  }
  return refused;
}

bool process_tree::is_empty() const {
  if (command_ > 0) return false;
  siginfo_t info{};
  info.si_pid = 0;
  // All that is left of the tree is a child of ours, or has a parent that is.
  if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD) return true;
  return alive().empty();
}

}  // namespace lockbyfile::cli
