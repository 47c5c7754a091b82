// SPDX-License-Identifier: Apache-2.0
//
// Processes that are stopped, or killed, at the worst instant. What they leave half
// done, the others finish. How fast is claimed in bounds_timing_test.cpp.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <system_error>
#include <thread>

#include "linux/system_calls.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

// Hooks for the seam (linux/system_calls.hpp), installed in a process of its own.

int signal_to_raise = 0;

/// The process is hit when the lock is open and the waiter still sleeps. Wakes nobody.
int hit_before_waking(const std::uint32_t* /*word*/, int /*count*/) {
  ::raise(signal_to_raise);
  return 0;
}

std::function<void()> hit_when_passing_on(int signal) {
  return [signal] {
    signal_to_raise = signal;
    sys.futex_wake = hit_before_waking;
  };
}

void await_stop(const lock_process& p) {
  ASSERT_EQ(::waitpid(static_cast<pid_t>(p.pid()), nullptr, WUNTRACED),
            static_cast<pid_t>(p.pid()));
}

using Stopped = LockTest;
using StoppedTiming = LockTest;

// TORTURE 27, P1, P2, P4

TEST_F(Stopped, AHolderStoppedPastItsLeaseIsToldThatItLostItsGrant) {
  lock_process holder(name(), {.lease = 50ms});
  lock_process successor(name());
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held) << held;
  holder.stop();
  const outcome taken = successor.acquire(forever);
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::expired) << "it is stopped, not dead";
  EXPECT_LT(held.granted.token, taken.granted.token);
  holder.go_on();
  EXPECT_FALSE(holder.is_held());
  EXPECT_EQ(holder.renew(), errc::lease_lost);
  EXPECT_EQ(holder.release(), errc::lease_lost);
  EXPECT_TRUE(successor.is_held());
}

TEST_F(Stopped, AStoppedHolderWithoutALeaseKeepsTheLock) {  // P3
  lock_process holder(name());
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  holder.stop();
  EXPECT_EQ(waiter.acquire(100ms).error, errc::timed_out);
  holder.go_on();
  EXPECT_EQ(holder.release(), std::error_code());
}

// TORTURE 28, P6

TEST_F(Stopped, TheLineMovesPastAStoppedHead) {
  lock_process holder(name());
  lock_process head(name());
  lock_process next(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(head);
  queue(next);
  head.stop();
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(next.end_acquire());
}

TEST_F(StoppedTiming, AHeadThatGoesOnIsServedBeforeThoseBehindIt) {  // P7
  lock_process holder(name());
  lock_process head(name());
  lock_process next(name());
  lock_process last(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(head);
  queue(next);
  queue(last);
  head.stop();
  ASSERT_EQ(holder.release(), std::error_code());
  const outcome first = next.end_acquire();
  ASSERT_TRUE(first) << first;
  head.go_on();
  ASSERT_TRUE(eventually([&] { return look().waiters.at(0).who.pid == head.pid(); }))
      << "it does not get its place back";
  ASSERT_EQ(next.release(), std::error_code());
  const outcome second = head.end_acquire();
  ASSERT_TRUE(second) << second;
  ASSERT_EQ(head.release(), std::error_code());
  EXPECT_GT(last.end_acquire().granted.token, second.granted.token);
}

TEST_F(Stopped, AllButTheLastInLineMayBeStopped) {
  lock_process holder(name());
  lock_process a(name());
  lock_process b(name());
  lock_process c(name());
  lock_process last(name());
  ASSERT_TRUE(holder.acquire(0ns));
  for (lock_process* p : {&a, &b, &c}) queue(*p);
  queue(last);
  for (lock_process* p : {&a, &b, &c}) p->stop();
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_TRUE(last.end_acquire());
  for (lock_process* p : {&a, &b, &c}) p->go_on();
  ASSERT_EQ(last.release(), std::error_code());
  serve({&a, &b, &c});
}

TEST_F(Stopped, AHeadDoesNotKeepTheLockFromOneThatOnlyTries) {
  lock_process holder(name());
  lock_process head(name());
  named_lock newcomer(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(head);
  std::this_thread::sleep_for(2ms);  // it is entitled now: a newcomer may not barge any more
  head.stop();
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(eventually([&] { return newcomer.try_lock(); }));
}

TEST_F(Stopped, WhoIsStoppedBetweenReleasingAndWakingDoesNotKeepTheLock) {
  lock_process holder(name(), {}, hit_when_passing_on(SIGSTOP));
  lock_process head(name());
  lock_process next(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(head);
  std::thread releasing([&] { EXPECT_EQ(holder.release(), std::error_code()); });
  const outcome taken = head.end_acquire();
  EXPECT_TRUE(taken) << taken;
  await_stop(holder);
  queue(next);
  holder.go_on();
  releasing.join();
  ASSERT_EQ(head.release(), std::error_code());
  EXPECT_TRUE(next.end_acquire());
}

// TORTURE 26, 47, P6: killed at the same instants

using Killed = LockTest;

TEST_F(Killed, BetweenReleasingAndWakingDoesNotKeepTheLock) {
  lock_process holder(name(), {}, hit_when_passing_on(SIGKILL));
  lock_process head(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(head);
  EXPECT_THROW((void)holder.release(), std::runtime_error) << "the process is gone";
  const outcome taken = head.end_acquire();
  EXPECT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::free) << "it was released before the end";
}

// TORTURE 29, P6

TEST_F(Killed, AllOtherWaitersWhileTheLockIsPassedDoNotKeepIt) {
  for (int round = 0; round < 10; ++round) {
    lock_process holder(name());
    lock_process a(name());
    lock_process b(name());
    lock_process c(name());
    lock_process last(name());
    ASSERT_TRUE(holder.acquire(forever));
    for (lock_process* p : {&a, &b, &c}) queue(*p);
    queue(last);
    // Unreaped and unordered: some die before the release, some while it wakes them.
    a.signal(SIGKILL);
    std::thread releasing([&] { EXPECT_EQ(holder.release(), std::error_code()); });
    b.signal(SIGKILL);
    c.signal(SIGKILL);
    releasing.join();
    const outcome taken = last.end_acquire();
    ASSERT_TRUE(taken) << taken;
  }
}

// TORTURE 47, P6

TEST_F(Killed, WaitersDoNotBlockTheOthersNorLingerInTheLine) {
  lock_process holder(name());
  lock_process a(name());
  lock_process b(name());
  lock_process c(name());
  lock_process d(name());
  ASSERT_TRUE(holder.acquire(0ns));
  for (lock_process* p : {&a, &b, &c, &d}) queue(*p);
  a.kill();
  c.kill();
  const lock_state state = look();
  ASSERT_EQ(state.waiters.size(), 2U);
  EXPECT_EQ(state.waiters[0].who.pid, b.pid());
  EXPECT_EQ(state.waiters[1].who.pid, d.pid());
  ASSERT_EQ(holder.release(), std::error_code());
  serve({&b, &d});
}

TEST_F(Killed, HolderAndHeadTogetherDoNotBlockTheNext) {
  lock_process holder(name());
  lock_process head(name());
  lock_process next(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(head);
  queue(next);
  head.signal(SIGKILL);
  holder.signal(SIGKILL);
  EXPECT_EQ(next.end_acquire().granted.how, grant_kind::abandoned);
}

TEST_F(Killed, TheSlotOfADeadWaiterServesTheNextSession) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  for (int round = 0; round < 40; ++round) {  // more than there are slots in the first page
    lock_process waiter(name());
    queue(waiter);
    waiter.kill();
  }
  lock_process heir(name());
  EXPECT_TRUE(look().waiters.empty());
  queue(heir);
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(heir.end_acquire());
  EXPECT_EQ(std::filesystem::file_size(name()), 4096U) << "the file grew for the dead";
}

}  // namespace
}  // namespace lockbyfile
