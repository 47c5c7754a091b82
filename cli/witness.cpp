// SPDX-License-Identifier: Apache-2.0
#include "witness.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "own_proc.hpp"

namespace lockbyfile::cli {

namespace {

constexpr std::string_view title = "signal-witness";

char* arguments_begin = nullptr;
std::size_t arguments_length = 0;

void close_everything() {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, 0U, ~0U, 0U) == 0) return;
#endif
  const long most = std::clamp(::sysconf(_SC_OPEN_MAX), 256L, 65536L);
  for (int fd = 0; fd < most; ++fd) ::close(fd);
}

[[noreturn]] void bear_witness(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  ::prctl(PR_SET_NAME, title.data());
  if (arguments_begin != nullptr) {
    std::memset(arguments_begin, 0, arguments_length);
    std::memcpy(arguments_begin, title.data(), std::min(title.size(), arguments_length - 1));
  }
  close_everything();
  for (;;) ::pause();
}

std::optional<std::uint64_t> pending(pid_t pid) {
  const auto text = own_proc_text(pid, "status");
  if (!text) return {};
  constexpr std::string_view key = "\nShdPnd:\t";
  const auto at = text->find(key);
  if (at == std::string::npos) return {};
  std::uint64_t bits = 0;
  const char* const begin = text->data() + at + key.size();
  const auto [end, error] = std::from_chars(begin, text->data() + text->size(), bits, 16);
  if (error != std::errc{}) return {};
  return bits;
}

bool contains(std::uint64_t signals, int signal) {
  return ((signals >> static_cast<unsigned>(signal - 1)) & 1U) != 0;
}

/// Returns when each kill() that has begun has reached its whole group. Linux goes over a group
/// with its list of processes locked for reading. setpgid() locks that list for writing, even if it
/// changes nothing (kernel/signal.c, kernel/sys.c). Without this call we may look, on another
/// processor, before the signal that woke us has reached the witness.
void let_signals_arrive() noexcept { (void)::setpgid(0, ::getpgrp()); }

}  // namespace

void witness::begin() {
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) bear_witness(parent);
}

void witness::end() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  pid_ = -1;
}

bool witness::has_got(int signal) {
  if (pid_ <= 0) return false;
  let_signals_arrive();
  const auto signals = pending(pid_);
  if (!signals) return false;
  const bool has = contains(*signals, signal);
  if (*signals != 0) {
    end();
    begin();
  }
  return has;
}

void witness::forget() {
  if (pid_ <= 0) return;
  const auto signals = pending(pid_);
  if (!signals || *signals == 0) return;
  sigset_t ours;
  ::sigpending(&ours);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    if (::sigismember(&ours, s) == 1) return;
  }
  end();
  begin();
}

void remember_arguments(int count, char** arguments) noexcept {
  if (count < 1) return;
  arguments_begin = arguments[0];
  const char* const last = arguments[count - 1];
  arguments_length = static_cast<std::size_t>(last - arguments_begin) + std::strlen(last) + 1;
}

}  // namespace lockbyfile::cli
