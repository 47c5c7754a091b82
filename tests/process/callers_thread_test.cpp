// SPDX-License-Identifier: Apache-2.0
//
// Threads as callers make them: with a small stack, with all signals blocked, to be cancelled.
#include <gtest/gtest.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <thread>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/sanitizers.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class CallersThread : public LockTest {
 protected:
  /// Runs `body` in a thread with a stack of that size. Whether it ended by itself.
  static void* run(std::size_t stack, const std::function<void()>& body) {
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    EXPECT_EQ(::pthread_attr_setstacksize(&attributes, stack), 0);
    pthread_t thread{};
    EXPECT_EQ(::pthread_create(
                  &thread, &attributes,
                  [](void* b) -> void* {
                    (*static_cast<const std::function<void()>*>(b))();
                    return nullptr;
                  },
                  const_cast<std::function<void()>*>(&body)),
              0);
    ::pthread_attr_destroy(&attributes);
    void* result = nullptr;
    ::pthread_join(thread, &result);
    return result;
  }

  /// Of a child: this thread may have used a lock before.
  static ::testing::AssertionResult in_a_new_thread(const std::function<void()>& body) {
    return passes_in_child([&] { run(1 << 20, body); });
  }

  /// Blocks all signals for as long as it lives.
  struct all_blocked {
    sigset_t before{};
    all_blocked() {
      sigset_t all;
      sigfillset(&all);
      ::pthread_sigmask(SIG_BLOCK, &all, &before);
    }
    ~all_blocked() { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); }
  };
};

TEST_F(CallersThread, OfTheSmallestStackAcquiresAndReleasesInALongQueue) {
  if (under_sanitizer) GTEST_SKIP() << "sanitizers make frames larger";
  EXPECT_TRUE(passes_in_child([&] {
    constexpr int others = 60;
    named_lock holder(name());
    holder.lock();
    std::list<named_lock> locks;
    std::list<std::jthread> waiters;
    named_lock ours(name());
    for (int i = 0; i < others; ++i) {
      auto& lock = locks.emplace_back(name());
      waiters.emplace_back([&lock] {
        lock.lock();
        lock.unlock();
      });
    }
    wait_for_line_of(others);
    std::jthread release([&] {
      wait_for_line_of(others + 1);
      holder.unlock();
    });
    run(PTHREAD_STACK_MIN, [&] {
      std::error_code ec;
      if (!ours.acquire(1min, {}, ec)) ::_exit(3);
      ours.renew(ec);
      ours.release(ec);
      if (ours.acquire(1min, {}, ec)) ours.release(ec);
    });
  }));
}

TEST_F(CallersThread, OfTheSmallestStackGivesUpInALongQueue) {
  if (under_sanitizer) GTEST_SKIP() << "sanitizers make frames larger";
  EXPECT_TRUE(passes_in_child([&] {
    constexpr int others = 60;
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    std::list<named_lock> locks;
    std::list<std::jthread> waiters;
    for (int i = 0; i < others; ++i) {
      auto& lock = locks.emplace_back(name());
      waiters.emplace_back([&lock](const std::stop_token& stop) {
        std::error_code ec;
        (void)lock.acquire(forever, stop, ec);
      });
    }
    wait_for_line_of(others);
    named_lock ours(name());
    run(PTHREAD_STACK_MIN, [&] {
      for (int i = 0; i < 20; ++i) {
        std::error_code ec;
        if (ours.acquire(1ms, {}, ec) || ec != errc::timed_out) ::_exit(3);
      }
    });
  }));
}

TEST_F(CallersThread, WithAllSignalsBlockedSurvivesATruncationInEveryCall) {
  // The whole process has them blocked, as have the threads of a uwsgi.
  const std::function<void(named_lock&)> calls[] = {
      [](named_lock& l) { (void)l.is_held(); },
      [](named_lock& l) {
        std::error_code ec;
        l.renew(ec);
      },
      [](named_lock& l) {
        std::error_code ec;
        l.release(ec);
      },
      [](named_lock& l) {
        std::error_code ec;
        (void)l.acquire(1ms, {}, ec);
      },
      [](named_lock& l) { (void)l.try_lock(); },
      [&](named_lock&) {
        std::error_code ec;
        (void)observe(name(), {}, ec);
      },
      [&](named_lock&) {
        std::error_code ec;
        break_lock(name(), {}, {}, ec);
      },
  };
  for (std::size_t i = 0; i < std::size(calls); ++i) {
    for (const bool is_held : {true, false}) {
      SCOPED_TRACE(i);
      EXPECT_TRUE(in_a_new_thread([&] {
        std::filesystem::remove(name());
        const all_blocked here;
        named_lock lock(name());
        if (is_held) lock.lock();
        run(1 << 20, [&] {  // it has not touched the lock yet
          truncate_file(name(), 0);
          calls[i](lock);
        });
      }));
    }
  }
}

TEST_F(CallersThread, WithAllSignalsBlockedSurvivesATruncationWhileItWaits) {
  EXPECT_TRUE(in_a_new_thread([&] {
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    const all_blocked here;
    named_lock waiter(name());
    std::error_code ec;
    std::jthread thread([&] { (void)waiter.acquire(1min, {}, ec); });
    wait_for_line_of(1);
    truncate_file(name(), 0);
    thread.join();
    EXPECT_EQ(ec, errc::damaged) << ec.message();
  }));
}

TEST_F(CallersThread, HasItsSignalMaskChangedOnceAndByNothingButSIGBUS) {
  EXPECT_TRUE(in_a_new_thread([&] {
    const all_blocked here;
    named_lock lock(name());
    for (int i = 0; i < 3; ++i) {
      lock.lock();
      lock.renew();
      lock.unlock();
      (void)observe(name());
    }
    sigset_t after;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
    sigset_t all;
    sigfillset(&all);
    sigset_t expected;  // what a thread can block at all
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    ::pthread_sigmask(SIG_BLOCK, nullptr, &expected);
    for (int s = 1; s < NSIG; ++s) {
      EXPECT_EQ(sigismember(&after, s), s == SIGBUS ? 0 : sigismember(&expected, s)) << s;
    }
    // It is blocked again, and now it is the program's own affair.
    lock.lock();
    lock.unlock();
    ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
    EXPECT_EQ(sigismember(&after, SIGBUS), 1) << "at each acquire";
  }));
}

TEST_F(CallersThread, WithoutTheGuardKeepsItsSignalMask) {
  EXPECT_TRUE(in_a_new_thread([&] {
    const all_blocked here;
    named_lock lock(name(), {.on_truncation = truncation_guard::leave_out});
    lock.lock();
    lock.unlock();
    sigset_t after;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
    EXPECT_EQ(sigismember(&after, SIGBUS), 1);
  }));
}

TEST_F(CallersThread, ThatIsCancelledWhileItAcquiresDoesNotEndTheProcess) {
  EXPECT_TRUE(passes_in_child([&] {
    std::atomic<bool> acquired = false;
    std::atomic<bool> went_on = false;
    named_lock lock(name());
    for (int step = 1; step <= 40; ++step) {
      acquired = went_on = false;
      std::filesystem::remove(name());
      outlive_the_last_look_at_the_path();
      int calls = 0;
      const seam cancelling([&](std::string_view) {  // at each call of the system in its turn
        if (++calls == step) ::pthread_cancel(::pthread_self());
        return 0;
      });
      void* const how = run(1 << 20, [&] {
        std::error_code ec;
        acquired = lock.acquire(1min, {}, ec).has_value();
        if (acquired) lock.release(ec);
        ::pthread_testcancel();
        went_on = true;
      });
      EXPECT_TRUE(acquired) << "cancelled half-way";
      EXPECT_TRUE(went_on || how == PTHREAD_CANCELED);
    }
  }));
}

TEST_F(CallersThread, ThatIsCancelledWhileItWaitsEndsAfterTheWait) {
  EXPECT_TRUE(passes_in_child([&] {
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    named_lock waiter(name());
    std::atomic<pthread_t> thread{};
    bool acquired = false;
    std::jthread cancel([&] {
      wait_for_line_of(1);
      ::pthread_cancel(thread);
      std::filesystem::remove(name());  // so that it opens files, which are cancellation points
      holder.release();
    });
    void* const how = run(1 << 20, [&] {
      thread = ::pthread_self();
      std::error_code ec;
      acquired = waiter.acquire(1min, {}, ec).has_value();
      ::pthread_testcancel();
    });
    EXPECT_TRUE(acquired);
    EXPECT_EQ(how, PTHREAD_CANCELED);
  }));
}

/// For another thread that has the same object.
TEST_F(CallersThread, ThatIsCancelledWhileItWaitsForItsTurnEndsAfterTheWait) {
  EXPECT_TRUE(passes_in_child([&] {
    std::atomic<int> asked = 0;  // before each sleep, so the second time is after one
    const auto is_asked = [&asked] {
      ++asked;
      asked.notify_all();
      return false;
    };
    named_lock lock(name(), {.gives_up = is_asked});
    lock.lock();
    std::jthread release([&] {
      for (int times = 0; times < 2; times = asked) asked.wait(times);
      lock.unlock();
    });
    bool acquired = false;
    void* const how = run(1 << 20, [&] {
      ::pthread_cancel(::pthread_self());
      std::error_code ec;
      acquired = lock.acquire(1min, {}, ec).has_value();
      ::pthread_testcancel();
    });
    while (asked < 2) is_asked();
    EXPECT_TRUE(acquired);
    EXPECT_EQ(how, PTHREAD_CANCELED);
  }));
}

}  // namespace
}  // namespace lockbyfile
