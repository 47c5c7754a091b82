// SPDX-License-Identifier: Apache-2.0
#include "loose_thread.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace lockbyfile::cli {

namespace {

constexpr std::chrono::milliseconds to_end{20};

struct loose_thread {
  std::thread thread;
  bool has_ended = false;
};

struct registry {
  const pid_t process = ::getpid();
  std::mutex mutex;
  std::condition_variable one_has_ended;
  std::list<loose_thread> threads;

  void run(loose_thread& self, std::function<void()> work) {
    work();
    work = nullptr;
    const std::lock_guard guard(mutex);
    self.has_ended = true;
    one_has_ended.notify_all();
  }
  /// Under the mutex. A thread that has ended does not need it any more.
  void join_those_that_have_ended() {
    std::erase_if(threads, [](loose_thread& t) {
      if (t.has_ended) t.thread.join();
      return t.has_ended;
    });
  }
};

/// Never destroyed: the threads may outlive everything else. Null until there was one.
std::atomic<registry*> made{nullptr};

registry& the_threads() {
  static registry* const r = [] {
    made = new registry;
    return made.load();
  }();
  return *r;
}

}  // namespace

bool start_loose_thread(std::function<void()> work) {
  registry& all = the_threads();
  const std::lock_guard guard(all.mutex);
  all.join_those_that_have_ended();
  loose_thread& self = all.threads.emplace_back();
  // A thread begins with the signal mask of the one that starts it.
  sigset_t every;
  sigset_t before;
  ::sigfillset(&every);
  ::pthread_sigmask(SIG_SETMASK, &every, &before);
  bool has_started = true;
  try {
    self.thread = std::thread(
        [&all, &self, work = std::move(work)]() mutable { all.run(self, std::move(work)); });
  } catch (const std::system_error&) {
    all.threads.pop_back();
    has_started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return has_started;
}

bool loose_threads_have_ended() {
  if (made.load() == nullptr) return true;
  registry& all = *made.load();
  if (all.process != ::getpid()) return false;  // a child of fork: nobody knows
  std::unique_lock lock(all.mutex);
  const bool have = all.one_has_ended.wait_for(lock, to_end, [&all] {
    return std::all_of(all.threads.begin(), all.threads.end(),
                       [](const loose_thread& t) { return t.has_ended; });
  });
  all.join_those_that_have_ended();
  return have;
}

}  // namespace lockbyfile::cli
