// SPDX-License-Identifier: Apache-2.0
//
// The promised bounds in real time, except those of a free lock (P6, free_lock_timing_test.cpp).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "linux/system_calls.hpp"
#include "process/bounds.hpp"
#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

// P5

TEST_F(BoundsTiming, AKilledHoldersLockIsHandedOnWithin10Ms) {
  delays d;
  lock_process waiter(name());
  for (int round = 0; round < 100; ++round) {
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(forever));
    queue(waiter);
    const auto killed = steady_now();
    holder.signal(SIGKILL);
    const outcome taken = waiter.end_acquire();
    ASSERT_EQ(taken.granted.how, grant_kind::abandoned);
    d.add(taken.ended - killed);
    ASSERT_EQ(waiter.release(), std::error_code());
  }
  d.print("from SIGKILL to the next grant");
  EXPECT_LT(d.median(), 10ms);
}

TEST_F(BoundsTiming, ALeaseThatRunsOutIsTakenOverAtItsEndAndNotBefore) {
  delays d;
  delays alarm;
  lock_process holder(name(), {.lease = 17ms});  // between two looks of a waiter
  lock_process waiter(name());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(holder.acquire(forever));
    const nanoseconds deadline(mapped_lockfile(name()).holder().lease_deadline.load());
    waiter.begin_acquire(forever);
    std::this_thread::sleep_until(std::chrono::steady_clock::time_point(deadline));
    alarm.add(steady_now() - deadline);
    const outcome taken = waiter.end_acquire();
    ASSERT_EQ(taken.granted.how, grant_kind::expired);
    EXPECT_GE(taken.ended, deadline);
    d.add(taken.ended - deadline);
    ASSERT_EQ(waiter.release(), std::error_code());
  }
  d.print("from the end of the lease to the next grant");
  alarm.print("from the same instant to the end of a plain sleep");
  // A busy machine wakes everybody late; a look that is not the lease's would be later.
  EXPECT_LT(d.median(), 1ms + 2 * alarm.median()) << "found at a look, not waited for";
}

TEST_F(BoundsTiming, ALeaseThatAWaiterBringsAlongIsTakenOverAtItsEndByTheNextInLine) {
  // Who was behind it slept on an older look, which knew nothing of that lease.
  delays d;
  delays alarm;
  lock_process first(name());
  lock_process holder(name(), {.lease = 1ms});
  lock_process waiter(name());
  for (int round = 0; round < 40; ++round) {
    ASSERT_TRUE(first.acquire(forever));
    queue(holder);
    queue(waiter);
    await_next_look(waiter, 3ms, 7ms);
    ASSERT_EQ(first.release(), std::error_code());
    const outcome held = holder.end_acquire();
    ASSERT_TRUE(held) << held;
    const nanoseconds deadline = held.ended + 1ms;  // or a little earlier
    std::this_thread::sleep_until(std::chrono::steady_clock::time_point(deadline));
    alarm.add(steady_now() - deadline);
    const outcome taken = waiter.end_acquire();
    ASSERT_EQ(taken.granted.how, grant_kind::expired);
    d.add(taken.ended - deadline);
    ASSERT_EQ(waiter.release(), std::error_code());
  }
  d.print("from the end of a short lease to the grant of the next in line");
  alarm.print("from the same instant to the end of a plain sleep");
  EXPECT_LT(d.median(), 1ms + 2 * alarm.median()) << "found at a look, not waited for";
}

TEST_F(BoundsTiming, TheEndOfALeaseIsNoticedThoughWhoKnewOfItHasLeftTheLine) {
  delays d;
  delays alarm;
  lock_process first(name());
  lock_process holder(name(), {.lease = 5ms});
  lock_process impatient(name());
  lock_process waiter(name());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(first.acquire(forever));
    queue(holder);
    queue(impatient, 35ms);
    queue(waiter);  // it looks again in 40 ms: soon after the end of the lease
    std::this_thread::sleep_for(31ms);
    ASSERT_EQ(first.release(), std::error_code());
    const outcome held = holder.end_acquire();
    ASSERT_TRUE(held) << held;
    if (impatient.end_acquire()) {  // the machine kept us until the lease had ended: no round
      ASSERT_EQ(impatient.release(), std::error_code());
      ASSERT_TRUE(waiter.end_acquire());
      ASSERT_EQ(waiter.release(), std::error_code());
      continue;
    }
    const nanoseconds deadline = held.ended + 5ms;  // or a little earlier
    std::this_thread::sleep_until(std::chrono::steady_clock::time_point(deadline));
    alarm.add(steady_now() - deadline);
    d.add(waiter.end_acquire().ended - deadline);
    ASSERT_EQ(waiter.release(), std::error_code());
  }
  d.print("from the end of a lease to the grant of one who did not see it begin");
  alarm.print("from the same instant to the end of a plain sleep");
  EXPECT_LT(d.median(), 1ms + 2 * alarm.median()) << "found at a look, not waited for";
}

TEST_F(BoundsTiming, DeadWaitersDoNotDelayTheNoticeOfADeath) {
  delays d;
  for (int round = 0; round < 3; ++round) {
    lock_process holder(name());
    std::deque<lock_process> dead;
    lock_process waiter(name());
    ASSERT_TRUE(holder.acquire(forever));
    for (int i = 0; i < 6; ++i) {
      dead.emplace_back(name());
      queue(dead.back());
    }
    queue(waiter);
    for (lock_process& p : dead) p.kill();
    std::this_thread::sleep_for(200ms);  // until it has found itself to be the first waiter
    const auto killed = steady_now();
    holder.signal(SIGKILL);
    d.add(waiter.end_acquire().ended - killed);
  }
  d.print("from SIGKILL to the grant of a waiter behind dead ones");
  EXPECT_LT(d.least(), 25ms);
}

TEST_F(BoundsTiming, AWaiterWhomOthersLeftAtTheHeadNoticesADeathInTime) {
  delays d;
  for (int round = 0; round < 3; ++round) {
    lock_process holder(name());
    lock_process waiter(name());
    ASSERT_TRUE(holder.acquire(forever));
    crowd impatient(name(), 60, 100ms);
    wait_for_line_of(60);
    queue(waiter);
    impatient.await_end();
    const auto killed = steady_now();
    holder.signal(SIGKILL);
    d.add(waiter.end_acquire().ended - killed);
  }
  d.print("from SIGKILL to the grant of a waiter who was far behind");
  EXPECT_LT(d.least(), 100ms);
}

TEST_F(BoundsTiming, AWaiterWhomTheLineMovedToTheHeadNoticesADeathInTime) {
  delays d;
  for (int round = 0; round < 3; ++round) {
    lock_process first(name());
    lock_process holder(name());
    lock_process waiter(name());
    ASSERT_TRUE(first.acquire(forever));
    crowd quick(name(), 60, 1min);
    wait_for_line_of(60);
    queue(holder);
    queue(waiter);
    ASSERT_EQ(first.release(), std::error_code());
    quick.await_end();
    ASSERT_TRUE(holder.end_acquire());
    const auto killed = steady_now();
    holder.signal(SIGKILL);
    d.add(waiter.end_acquire().ended - killed);
  }
  d.print("from SIGKILL to the grant of a waiter whose line was long");
  EXPECT_LT(d.least(), 100ms);
}

// TORTURE 44

TEST_F(BoundsTiming, AReleaseWakesTheNextAtOnce) {
  delays d;
  lock_process holder(name());
  lock_process waiter(name());
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(holder.acquire(forever));
    queue(waiter);
    const auto released = steady_now();
    ASSERT_EQ(holder.release(), std::error_code());
    d.add(waiter.end_acquire().ended - released);
    ASSERT_EQ(waiter.release(), std::error_code());
  }
  d.print("from the release to the next grant");
  EXPECT_LT(d.median(), 2ms);
}

// P8, TORTURE 32

TEST_F(BoundsTiming, PatienceEndsSoonAfterItsTime) {
  delays d;
  lock_process holder(name());
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(forever));
  for (const nanoseconds patience : {nanoseconds(100us), nanoseconds(1ms), nanoseconds(10ms)}) {
    for (int round = 0; round < 10; ++round) {
      const outcome o = waiter.acquire(patience);
      ASSERT_EQ(o.error, errc::timed_out);
      d.add(o.ended - o.begun - patience);
    }
  }
  d.print("beyond patience");
  EXPECT_GE(d.least(), 0ns);
  EXPECT_LT(d.median(), 3ms);
}

TEST_F(BoundsTiming, PatienceEndsInTimeInASignalStorm) {
  delays d;
  lock_process holder(name());
  lock_process waiter(name(), {}, [] {
    struct sigaction ignoring {};
    ignoring.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &ignoring, nullptr);
    const struct itimerval often {
      {0, 100}, { 0, 100 }
    };
    ::setitimer(ITIMER_REAL, &often, nullptr);
  });
  ASSERT_TRUE(holder.acquire(forever));
  for (int round = 0; round < 7; ++round) {
    const outcome o = waiter.acquire(50ms);
    ASSERT_EQ(o.error, errc::timed_out);
    d.add(o.ended - o.begun - 50ms);
  }
  d.print("beyond patience in a signal storm");
  EXPECT_GE(d.least(), 0ns);
  EXPECT_LT(d.median(), 10ms);
}

TEST_F(BoundsTiming, AStopRequestEndsTheWaitAtOnce) {
  delays d;
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(forever));
  named_lock lock(name());
  for (int round = 0; round < 30; ++round) {
    std::stop_source stop;
    nanoseconds ended{0};
    std::thread waiting([&] {
      std::error_code ec;
      EXPECT_FALSE(lock.acquire(forever, stop.get_token(), ec));
      ended = steady_now();
    });
    wait_for_line_of(1);
    const auto requested = steady_now();
    stop.request_stop();
    waiting.join();
    d.add(ended - requested);
  }
  d.print("from the stop request to the end of the wait");
  EXPECT_LT(d.median(), 3ms) << "found at a look, not woken";
}

// P7

TEST_F(BoundsTiming, ANewcomerIsServedSoonThoughOthersHammer) {
  // Nobody may overtake it all the time just because it has not joined the wait queue yet.
  const auto hammer = [this](talk&) {
    named_lock lock(name());
    for (;;) {
      lock.lock();
      lock.unlock();
    }
  };
  const child first(hammer);
  const child second(hammer);
  delays d;
  named_lock lock(name());
  for (int i = 0; i < 100; ++i) {
    const auto begun = steady_now();
    lock.lock();
    d.add(steady_now() - begun);
    lock.unlock();
    std::this_thread::sleep_for(1ms);
  }
  d.print("until a newcomer is served while two hammer");
  EXPECT_LT(d.most(), 250ms);
}

// TORTURE 6, P8

TEST_F(BoundsTiming, PatienceIsKeptUnderConstantTakeovers) {
  const auto thief = [this](talk&) {
    named_lock lock(name(), {.lease = 1ns});
    for (;;) (void)lock.acquire();
  };
  const child first(thief);
  const child second(thief);
  delays d;
  named_lock lock(name(), {.lease = 1ns});
  for (int i = 0; i < 50; ++i) {
    const auto begun = steady_now();
    (void)lock.try_lock_for(5ms);
    d.add(steady_now() - begun - 5ms);
  }
  d.print("beyond patience while two take over all the time");
  EXPECT_LT(d.most(), 250ms);
}

TEST_F(BoundsTiming, EightProcessesShareTheLockEvenlySlow) {
  constexpr unsigned processes = 8;
  struct counts {
    std::atomic<bool> begin;
    std::atomic<bool> over;
    std::atomic<unsigned> grants[processes];
  };
  const shared_memory<counts> shared;
  std::deque<child> all;
  for (auto& grants : shared->grants) {
    all.emplace_back([&](talk& t) {
      named_lock lock(name());
      t.say("ready");
      while (!shared->begin) std::this_thread::sleep_for(1ms);
      while (!shared->over) {
        lock.lock();
        ++grants;
        std::this_thread::sleep_for(1ms);
        lock.unlock();
      }
    });
  }
  for (child& c : all) c.expect("ready");
  shared->begin = true;
  std::this_thread::sleep_for(4s);
  shared->over = true;
  for (child& c : all) EXPECT_EQ(c.wait(), 0);
  const auto [fewest, most] =
      std::minmax_element(std::begin(shared->grants), std::end(shared->grants));
  const double evenness = static_cast<double>(*fewest) / static_cast<double>(*most);
  std::printf("from %u to %u grants: %.3f\n", fewest->load(), most->load(), evenness);
  EXPECT_GT(evenness, 0.9);
}

}  // namespace
}  // namespace lockbyfile
