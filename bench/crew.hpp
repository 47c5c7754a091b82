// SPDX-License-Identifier: Apache-2.0
//
// A crew: processes that do the same thing at the same time, and the page that they share.
#pragma once

#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "round.hpp"

namespace bench {

/// The guard of the critical section, the same for all: notices if two processes are inside.
class section {
 public:
  void enter(int who) noexcept {
    if (inside_.load(std::memory_order_relaxed) != 0) overlaps_.fetch_add(1);
    inside_.store(who, std::memory_order_relaxed);
  }
  void leave(int who) noexcept {
    if (inside_.load(std::memory_order_relaxed) != who) overlaps_.fetch_add(1);
    inside_.store(0, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t overlaps() const noexcept { return overlaps_.load(); }

 private:
  std::atomic<int> inside_{0};
  std::atomic<std::uint64_t> overlaps_{0};
};

/// Burns processor time, like a holder that works.
inline void work_until(instant end) noexcept {
  while (now() < end) {
  }
}

inline void nap_us(int us) noexcept { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

/// Forked processes 1 .. size. Those that are left when it ends are killed.
class crew {
 public:
  crew(int size, const std::function<void(int who)>& body) {
    for (int who = 1; who <= size; ++who) {
      const pid_t pid = ::fork();
      if (pid < 0) throw std::runtime_error("cannot fork " + std::to_string(size) + " processes");
      if (pid == 0) run(who, body);
      pids_.push_back(pid);
    }
  }
  ~crew() {
    for (const pid_t pid : pids_) ::kill(pid, SIGKILL);
    for (const pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
  }
  crew(const crew&) = delete;
  crew& operator=(const crew&) = delete;

  /// Until all have ended. Throws if one failed.
  void join() {
    bool all_well = true;
    for (const pid_t pid : pids_) {
      int status = 0;
      ::waitpid(pid, &status, 0);
      all_well = all_well && status == 0;
    }
    pids_.clear();
    if (!all_well) throw std::runtime_error("one of the processes failed");
  }

  [[nodiscard]] const std::vector<pid_t>& pids() const noexcept { return pids_; }

 private:
  [[noreturn]] static void run(int who, const std::function<void(int who)>& body) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_TIMERSLACK, 1UL);
    int code = 0;
    try {
      body(who);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "process %d: %s\n", who, error.what());
      code = 1;
    }
    std::fflush(nullptr);
    ::_exit(code);
  }

  std::vector<pid_t> pids_;
};

/// Where a crew meets before it starts. In shared memory.
class start_line {
 public:
  start_line() noexcept {
    ::sem_init(&ready_, 1, 0);
    ::sem_init(&started_, 1, 0);
  }
  void ready_and_wait() noexcept {
    ::sem_post(&ready_);
    wait(started_);
  }
  void start_when_ready(int size) noexcept {
    for (int i = 0; i < size; ++i) wait(ready_);
    for (int i = 0; i < size; ++i) ::sem_post(&started_);
  }

 private:
  static void wait(sem_t& s) noexcept {
    while (::sem_wait(&s) != 0) {
    }
  }
  sem_t ready_{};
  sem_t started_{};
};

}  // namespace bench
