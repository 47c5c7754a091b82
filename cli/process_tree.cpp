// SPDX-License-Identifier: Apache-2.0
#include "process_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lockbyfile::cli {

namespace {

struct process {
  pid_t pid;
  pid_t parent;
  char state;  // as in ps: R, S, D, T, Z, ...
};

/// Reads /proc/PID/stat: "pid (name) state parent ...", where the name may hold
/// anything, also parentheses. None if the process has just gone.
std::optional<process> read_process(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::array<char, 512> buffer{};
  const auto n = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  if (n <= 0) return {};

  const std::string_view text(buffer.data(), static_cast<std::size_t>(n));
  const auto after_name = text.rfind(") ");
  if (after_name == std::string_view::npos || after_name + 4 >= text.size()) return {};
  process result{pid, 0, text[after_name + 2]};
  const char* parent = text.data() + after_name + 4;
  const auto [end, error] = std::from_chars(parent, text.data() + text.size(), result.parent);
  if (error != std::errc{}) return {};
  return result;
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

bool contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

}  // namespace

process_tree::process_tree() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (!has_children()) return;  // nearly always; reading /proc would take longer
  for (const process& p : all_processes()) {
    if (p.parent == ::getpid()) strangers_.push_back(p.pid);
  }
}

std::vector<pid_t> process_tree::alive() const {
  const std::vector<process> all = all_processes();
  std::vector<pid_t> found{::getpid()};
  std::vector<pid_t> living;
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const process& p : all) {
      if (p.parent != found[i] || contains(strangers_, p.pid)) continue;
      found.push_back(p.pid);
      if (p.state != 'Z' && p.state != 'X') living.push_back(p.pid);
    }
  }
  return living;
}

std::vector<pid_t> process_tree::signal_all(int signal) const {
  std::vector<pid_t> refused;
  for (const pid_t pid : alive()) {
    if (::kill(pid, signal) != 0 && errno == EPERM) refused.push_back(pid);
  }
  return refused;
}

bool process_tree::is_empty() const { return alive().empty(); }

}  // namespace lockbyfile::cli
