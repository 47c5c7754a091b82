// SPDX-License-Identifier: Apache-2.0
#include "own_proc.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace lockbyfile::cli {

namespace {

std::optional<std::string> text_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::array<char, 4096> buffer{};
  const auto n = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  if (n <= 0) return {};
  return std::string(buffer.data(), static_cast<std::size_t>(n));
}

bool ask_proc_self() {
  const auto status = text_of("/proc/self/status");
  if (!status) return false;
  const std::string pid = std::to_string(::getpid());
  if (status->find("\nPid:\t" + pid + '\n') == std::string::npos) return false;
  const bool tells_namespaces = status->find("\nNSpid:") != std::string::npos;  // from Linux 4.1
  return !tells_namespaces || status->find("\nNSpid:\t" + pid + '\n') != std::string::npos;
}

}  // namespace

bool proc_is_ours() {
  static const bool is_ours = ask_proc_self();
  return is_ours;
}

std::string why_proc_is_not_ours() {
  struct statfs at {};
  const bool is_mounted = ::statfs("/proc", &at) == 0 && at.f_type == PROC_SUPER_MAGIC;
  return is_mounted ? "/proc here is of another pid namespace" : "/proc is not mounted here";
}

std::optional<std::string> own_proc_text(pid_t pid, const char* file) {
  if (!proc_is_ours()) return {};
  return text_of("/proc/" + std::to_string(pid) + '/' + file);
}

}  // namespace lockbyfile::cli
