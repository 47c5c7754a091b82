// SPDX-License-Identifier: Apache-2.0
//
// SIGKILL between any two machine instructions. The victim is traced (ptrace): it runs to a
// random system call, is single-stepped a random way from there, and killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <system_error>
#include <thread>

#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/seed.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

/// A process that prepares itself, waits, and then acts under our eyes.
class victim {
 public:
  victim(const std::function<void()>& prepare, const std::function<void()>& act) : pid_(::fork()) {
    if (pid_ == 0) {
      if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(may_not_trace);
      try {
        prepare();
        ::raise(SIGSTOP);
        act();
        ::raise(SIGSTOP);
      } catch (const std::exception& e) {
        std::fprintf(stderr, "victim: %s\n", e.what());
      }
      ::_exit(1);
    }
    ::waitpid(pid_, &status_, 0);
  }
  ~victim() { kill(); }
  victim(const victim&) = delete;
  victim& operator=(const victim&) = delete;

  [[nodiscard]] bool is_traceable() const { return WIFSTOPPED(status_); }
  [[nodiscard]] bool failed() const { return WIFEXITED(status_); }

  /// Lets it run until it enters or leaves its `number`-th system call, or is done. How far
  /// it came.
  std::uint64_t run(std::uint64_t number) { return go(PTRACE_SYSCALL, number); }

  /// Lets it run for `number` instructions, or until it is done.
  std::uint64_t step(std::uint64_t number) { return go(PTRACE_SINGLESTEP, number); }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
  }

 private:
  std::uint64_t go(__ptrace_request how, std::uint64_t number) {
    // A round may make fewer calls than the first one did: past its end there is nothing to run.
    for (std::uint64_t done = 0; done < number; ++done) {
      if (is_done_) return done;
      ::ptrace(how, pid_, nullptr, nullptr);
      ::waitpid(pid_, &status_, 0);
      is_done_ = !WIFSTOPPED(status_) || WSTOPSIG(status_) != SIGTRAP;
      if (is_done_) return done;
    }
    return number;
  }

  static constexpr int may_not_trace = 3;
  pid_t pid_;
  int status_ = 0;
  bool is_done_ = false;
};

class CrashPointsSlow : public LockTest {
 protected:
  /// Again and again: `before` the victim prepares, it acts after `meanwhile`, is killed, and
  /// then all must be well as `after` sees it.
  struct scene {
    std::function<void()> before = [] {};
    std::function<void()> prepare;
    std::function<void()> meanwhile = [] {};
    std::function<void()> act;
    std::function<void()> after;
  };

  void play(const scene& s) {
    auto random = seeded(::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::uint64_t calls = 0;
    unsigned rounds = 0;
    const auto end = steady_now() + 3s;
    while (steady_now() < end && !HasFailure()) {
      s.before();
      victim v(s.prepare, s.act);
      if (!v.is_traceable()) GTEST_SKIP() << "no process may be traced here";
      s.meanwhile();
      std::uint64_t ran = 0;
      std::uint64_t stepped = 0;
      if (rounds == 0) {
        calls = v.run(100'000);  // returns how many there are
      } else {
        ran = v.run(pick(random, 0, calls));
        if (ran < calls) stepped = v.step(pick(random, 0, std::uint64_t{1} << pick(random, 0, 10)));
      }
      ASSERT_FALSE(v.failed());
      v.kill();
      s.after();
      if (HasFailure())
        std::printf("killed after %llu calls and %llu steps\n",
                    static_cast<unsigned long long>(ran), static_cast<unsigned long long>(stepped));
      ++rounds;
    }
    std::printf("%u rounds over %llu entries and exits of system calls, longest wait %.1f ms\n",
                rounds, static_cast<unsigned long long>(calls),
                std::chrono::duration<double, std::milli>(longest_).count());
  }

  /// `p`, which waits since before the kill, must be served, under a larger token.
  void expect_served(lock_process& p) {
    const auto start = steady_now();
    const outcome o = p.end_acquire();
    ASSERT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last_);
    last_ = o.granted.token;
    longest_ = std::max(longest_, o.ended - start);
    EXPECT_LT(o.ended - start, 2s);
  }
  void expect_free_for(lock_process& p) {
    p.begin_acquire(forever);
    expect_served(p);
    EXPECT_EQ(p.release(), std::error_code());
  }

  void use_in_victim(const lock_options& options = {}) { victims_.emplace(name(), options); }

  std::optional<named_lock> victims_;  // only ever made in the victim
  std::optional<lock_process> first_;
  std::optional<lock_process> second_;
  fencing_token last_;
  std::chrono::nanoseconds longest_{0};
};

// TORTURE 26, 28, 47, P1, P2, P5, P6

TEST_F(CrashPointsSlow, OfAcquiringAFreeLock) {
  play({.before = [&] { first_.emplace(name()); },
        .prepare = [&] { use_in_victim(); },
        .act = [&] { (void)victims_->acquire(0ns); },
        .after = [&] { expect_free_for(*first_); }});
}

TEST_F(CrashPointsSlow, OfTakingOverADeadHoldersLockBeforeOthers) {
  play({.before =
            [&] {
              first_.emplace(name());
              second_.emplace(name());
              ASSERT_TRUE(first_->acquire(forever));
            },
        .prepare = [&] { use_in_victim(); },
        .meanwhile = [&] { first_->kill(); },
        .act = [&] { (void)victims_->acquire(0ns); },
        .after = [&] { expect_free_for(*second_); }});
}

TEST_F(CrashPointsSlow, OfRenewing) {
  play({.before = [&] { first_.emplace(name()); },
        .prepare =
            [&] {
              use_in_victim({.lease = 1h});
              (void)victims_->acquire(forever);
            },
        .meanwhile = [&] { queue(*first_); },
        .act = [&] { victims_->renew(); },
        .after =
            [&] {
              expect_served(*first_);
              EXPECT_EQ(first_->release(), std::error_code());
            }});
}

TEST_F(CrashPointsSlow, OfReleasingToALine) {
  play({.before =
            [&] {
              first_.emplace(name());
              second_.emplace(name());
            },
        .prepare =
            [&] {
              use_in_victim();
              (void)victims_->acquire(forever);
            },
        .meanwhile =
            [&] {
              queue(*first_);
              queue(*second_);
            },
        .act = [&] { victims_->unlock(); },
        .after =
            [&] {
              const auto start = steady_now();
              const auto served = serve({&*first_, &*second_});
              longest_ = std::max(longest_, served.at(0).ended - start);
              EXPECT_LT(served.at(0).ended - start, 2s);
              EXPECT_GT(served.at(0).granted.token, last_);
              EXPECT_GT(served.at(1).granted.token, served.at(0).granted.token);
              last_ = served.at(1).granted.token;
            }});
}

TEST_F(CrashPointsSlow, OfJoiningTheLineAndGivingUp) {
  play({.before =
            [&] {
              first_.emplace(name());
              second_.emplace(name());
              const outcome o = first_->acquire(forever);
              ASSERT_TRUE(o) << o;
              last_ = o.granted.token;
              queue(*second_);
            },
        .prepare = [&] { use_in_victim(); },
        .act =
            [&] {
              std::error_code ec;
              (void)victims_->acquire(1ns, {}, ec);
            },
        .after =
            [&] {
              EXPECT_EQ(look().waiters.size(), 1U);
              EXPECT_EQ(first_->release(), std::error_code());
              expect_served(*second_);
              EXPECT_EQ(second_->release(), std::error_code());
            }});
}

TEST_F(CrashPointsSlow, OfWaitingAndBeingServed) {
  std::jthread releasing;
  play({.before =
            [&] {
              first_.emplace(name());
              second_.emplace(name());
              const outcome o = first_->acquire(forever);
              ASSERT_TRUE(o) << o;
              last_ = o.granted.token;
            },
        .prepare = [&] { use_in_victim(); },
        .meanwhile =
            [&] {
              releasing = std::jthread([&] {
                std::this_thread::sleep_for(2ms);  // while it waits, or soon after
                first_->begin_release();
              });
            },
        .act = [&] { (void)victims_->acquire(forever); },
        .after =
            [&] {
              releasing.join();
              EXPECT_EQ(first_->end_deed(), std::error_code());
              expect_free_for(*second_);
            }});
}

TEST_F(CrashPointsSlow, OfOpeningAndClosing) {
  play({.before =
            [&] {
              first_.emplace(name());
              second_.emplace(name());
              const outcome o = first_->acquire(forever);
              ASSERT_TRUE(o) << o;
              last_ = o.granted.token;
            },
        .prepare = [&] { named_lock(directory() + "/warm-up"); },
        .act =
            [&] {
              use_in_victim();
              victims_.reset();
            },
        .after =
            [&] {
              EXPECT_EQ(first_->release(), std::error_code()) << "the holder was disturbed";
              expect_free_for(*second_);
            }});
}

}  // namespace
}  // namespace lockbyfile
