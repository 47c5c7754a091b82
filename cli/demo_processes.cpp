// SPDX-License-Identifier: Apache-2.0
#include "demo_processes.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <exception>

#include "demo_log.hpp"

namespace lockbyfile::demo {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t tick = 20'000'000;

[[noreturn]] void run(const std::function<bool()>& body, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before the line above
  try {
    ::_exit(body() ? 0 : 1);
  } catch (const std::exception& error) {
    log("failed: ", error.what());
    ::_exit(1);
  }
}

}  // namespace

std::int64_t monotonic_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * second + now.tv_nsec;
}

void sleep_until(std::int64_t when) noexcept {
  const timespec wake{.tv_sec = when / second, .tv_nsec = when % second};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr) == EINTR) {
  }
}

void processes::start(const std::function<bool()>& body) {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::system_category(), "cannot fork");
  if (child == 0) run(body, parent);
  running_.push_back(child);
}

bool processes::wait(const std::function<void()>& meanwhile) {
  bool succeeded = true;
  while (!running_.empty()) {
    std::erase_if(running_, [&](pid_t child) {
      int status = 0;
      if (::waitpid(child, &status, WNOHANG) != child) return false;
      succeeded = succeeded && WIFEXITED(status) && WEXITSTATUS(status) == 0;
      return true;
    });
    if (meanwhile) meanwhile();
    if (!running_.empty()) sleep_until(monotonic_now() + tick);
  }
  return succeeded;
}

processes::~processes() {
  for (const pid_t child : running_) ::kill(child, SIGKILL);
  for (const pid_t child : running_) ::waitpid(child, nullptr, 0);
}

}  // namespace lockbyfile::demo
