// SPDX-License-Identifier: Apache-2.0
#include "worker.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <system_error>
#include <thread>

#include "dice.hpp"
#include "user.hpp"

namespace lockbyfile::torture {

using namespace std::chrono_literals;

namespace {

void note_gone(history& log, pid_t process) {
  deed d;
  d.kind = deed_kind::gone;
  d.process = static_cast<std::uint32_t>(process);
  log.note(d);
}

class worker {
 public:
  worker(history& log, const plan& p, std::uint64_t seed)
      : log_(log), plan_(p), dice_(seed), user_(log, p, any_name(), dice_.seed()) {}

  [[noreturn]] void work() {
    if (dice_.one_in(3)) {
      std::thread([this, seed = dice_.seed(), name = any_name()] {
        user other(log_, plan_, name, seed);
        try {
          for (;;) {
            other.use_once();
            rest();
          }
        } catch (const std::system_error&) {
          // No thread can be made while another thread executes a program.
        }
      }).detach();
    }
    while (now() < plan_.end) {
      if (user_.acquire()) {
        if (dice_.one_in(60)) end_somehow();
        if (dice_.one_in(60)) fork();
        user_.change();
        user_.hold();
        user_.let_go();
      }
      reap();
      if (dice_.one_in(60)) fork();
      rest();
    }
    end();
  }

 private:
  std::uint8_t any_name() {
    return static_cast<std::uint8_t>(dice_.pick(0, plan_.places.size() - 1));
  }

  void rest() {
    thread_local dice own(now());
    std::this_thread::sleep_for(own.mostly_short(30ms * plan_.pace));
  }

  [[noreturn]] void end() {
    user_.note_end();
    ::_exit(0);
  }

  /// In the middle of things, without releasing anything.
  [[noreturn]] void end_somehow() {
    if (dice_.one_in(2)) end();
    user_.note_end();
    if (dice_.one_in(2)) {
      const std::string fd = std::to_string(log_.descriptor());
      ::execl("/proc/self/exe", "torture", executed_option, fd.c_str(), nullptr);
    }
    ::prctl(PR_SET_DUMPABLE, 0);  // a core dump would take long
    std::abort();
  }

  /// The child lives on for a while, often longer than its parent.
  void fork() {
    if (is_child_) return;
    const std::uint64_t seed = dice_.seed();
    deed d;
    d.kind = deed_kind::fork;
    d.process = static_cast<std::uint32_t>(::getpid());
    auto forking = log_.begin(d);
    if (::fork() != 0) return forking.finish({});
    is_child_ = true;
    dice_ = dice(seed);
    user_.wake_up_as_a_child();
    const instant until = std::min(
        plan_.end, now() + microseconds(dice_.pick(0, std::uint64_t{200'000} * plan_.pace)));
    while (now() < until) {
      user_.use_once();
      rest();
    }
    end();
  }

  void reap() {
    for (pid_t child = 0; (child = ::waitpid(-1, nullptr, WNOHANG)) > 0;) note_gone(log_, child);
  }

  history& log_;
  const plan& plan_;
  dice dice_;
  user user_;
  bool is_child_ = false;
};

}  // namespace

void live(history& log, const std::function<void()>& life) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &action, nullptr);  // and no SA_RESTART
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    life();
  } catch (const std::exception& e) {
    deed d;
    d.kind = deed_kind::wrong;
    d.process = static_cast<std::uint32_t>(::getpid());
    d.detail = static_cast<std::uint8_t>(wrong_kind::exception);
    log.note(d);
    std::fprintf(stderr, "process %d: %s\n", static_cast<int>(::getpid()), e.what());
  }
  ::_exit(0);
}

void work(history& log, const plan& p, std::uint64_t seed) {
  live(log, [&] { worker(log, p, seed).work(); });
}

void pass_through(history& log, const plan& p, std::uint64_t seed) {
  live(log, [&] {
    dice d(seed);
    for (std::size_t i = 0; i < p.places.size(); ++i) {
      const auto name = static_cast<std::uint8_t>(i);
      user last(log, p, name, d.seed());
      if (last.pass_through()) continue;
      deed wrong;
      wrong.kind = deed_kind::wrong;
      wrong.name = name;
      wrong.detail = static_cast<std::uint8_t>(wrong_kind::unusable);
      log.note(wrong);
    }
  });
}

int live_on_after_exec(int log) {
  history inherited = history::inherited(log);
  note_gone(inherited, ::getpid());
  std::this_thread::sleep_for(50ms);
  return 0;
}

}  // namespace lockbyfile::torture
