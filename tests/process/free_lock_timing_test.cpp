// SPDX-License-Identifier: Apache-2.0
//
// How long a free lock is left untaken when somebody before the next one was stopped or
// killed: promise P6, in real time.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <system_error>

#include "linux/system_calls.hpp"
#include "process/bounds.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

TEST_F(BoundsTiming, AStoppedHeadDelaysItsSuccessorBy25Ms) {
  delays d;
  lock_process holder(name());
  lock_process next(name());
  for (int round = 0; round < 15; ++round) {
    lock_process head(name());
    ASSERT_TRUE(holder.acquire(forever));
    queue(head);
    queue(next);
    head.stop();
    const auto released = steady_now();
    ASSERT_EQ(holder.release(), std::error_code());
    d.add(next.end_acquire().ended - released);
    head.kill();
    ASSERT_EQ(next.release(), std::error_code());
  }
  d.print("from the release to the grant behind a stopped head");
  EXPECT_LT(d.median(), 50ms);
}

TEST_F(BoundsTiming, AStoppedWaiterDelaysTheOthersOnceAndNotAtEachGrant) {
  lock_process holder(name());
  lock_process stopped(name());
  lock_process a(name());
  lock_process b(name());
  ASSERT_TRUE(holder.acquire(forever));
  queue(stopped);
  stopped.stop();
  delays d;
  for (int round = 0; round < 20; ++round) {
    lock_process& from = round == 0 ? holder : round % 2 == 1 ? a : b;
    lock_process& to = round % 2 == 0 ? a : b;
    queue(to);
    const auto released = steady_now();
    ASSERT_EQ(from.release(), std::error_code());
    d.add(to.end_acquire().ended - released);
  }
  d.print("from the release to the grant past a waiter that stays stopped");
  EXPECT_LT(d.median(), 10ms);
}

TEST_F(BoundsTiming, ManyStoppedOrKilledWaitersDelayTheLastOneBy25MsEach) {
  constexpr int count = 8;
  delays d;
  for (int round = 0; round < 3; ++round) {
    lock_process holder(name());
    std::deque<lock_process> ahead;
    lock_process last(name());
    ASSERT_TRUE(holder.acquire(forever));
    for (int i = 0; i < count; ++i) {
      ahead.emplace_back(name());
      queue(ahead.back());
    }
    queue(last);
    for (int i = 0; i < count; ++i) {
      auto& p = ahead[static_cast<std::size_t>(i)];
      i % 2 == 0 ? p.stop() : p.signal(SIGKILL);
    }
    const auto released = steady_now();
    ASSERT_EQ(holder.release(), std::error_code());
    d.add(last.end_acquire().ended - released);
  }
  d.print("from the release to the grant behind 4 stopped and 4 killed ones");
  EXPECT_LT(d.least(), 2 * count * 25ms);
}

TEST_F(BoundsTiming, AWaiterWhomOthersLeftBehindOneThatIsStoppedIsServedInTime) {
  delays d;
  for (int round = 0; round < 3; ++round) {
    lock_process holder(name());
    lock_process head(name());
    lock_process next(name());
    ASSERT_TRUE(holder.acquire(forever));
    crowd impatient(name(), 60, 100ms);
    wait_for_line_of(60);
    queue(head);
    queue(next);
    impatient.await_end();
    head.stop();
    const auto released = steady_now();
    ASSERT_EQ(holder.release(), std::error_code());
    d.add(next.end_acquire().ended - released);
  }
  d.print("from the release to the grant behind a stopped one, both once far behind");
  EXPECT_LT(d.least(), 125ms);
}

TEST_F(BoundsTiming, WhoIsNextBehindAStoppedOneSinceThoseBetweenThemLeftIsServedInTime) {
  delays d;
  for (int round = 0; round < 5; ++round) {
    lock_process holder(name());
    lock_process head(name());
    lock_process next(name());
    ASSERT_TRUE(holder.acquire(forever));
    queue_behind_a_stopped(head, next, 40, 50ms);
    const auto released = steady_now();
    ASSERT_EQ(holder.release(), std::error_code());
    d.add(next.end_acquire().ended - released);
  }
  d.print("from the release to the grant behind a stopped one, with a gap between the tickets");
  EXPECT_LT(d.median(), 50ms);
}

TEST_F(BoundsTiming, AnOldHoldersReleaseDoesNotHideSinceWhenTheLockIsFree) {
  // The waiter behind a stopped first waiter looks rarely. It must not start counting only then.
  delays d;
  for (int round = 0; round < 7; ++round) {
    lock_process old(name(), {.lease = 1ms});
    lock_process holder(name());
    lock_process head(name());
    lock_process next(name());
    ASSERT_TRUE(old.acquire(forever));
    ASSERT_TRUE(holder.acquire(forever));
    queue_behind_a_stopped(head, next, 3, 10ms);
    const auto released = steady_now();
    ASSERT_EQ(holder.release(), std::error_code());
    ASSERT_EQ(old.release(), errc::lease_lost);
    d.add(next.end_acquire().ended - released);
  }
  d.print("from the release to the grant behind a stopped one, with a late release between");
  EXPECT_LT(d.median(), 30ms);
}

TEST_F(BoundsTiming, WhoIsNextBehindAStoppedOneIsServedInTimeAfterABreakToo) {
  delays d;
  for (int round = 0; round < 7; ++round) {
    lock_process holder(name());
    lock_process head(name());
    lock_process next(name());
    ASSERT_TRUE(holder.acquire(forever));
    queue_behind_a_stopped(head, next, 3, 10ms);
    const auto broken = steady_now();
    break_lock(name(), fencing_token());
    d.add(next.end_acquire().ended - broken);
  }
  d.print("from the break to the grant behind a stopped one");
  EXPECT_LT(d.median(), 30ms);
}

TEST_F(BoundsTiming, AReleaserThatWakesNobodyDelaysTheHeadBy25Ms) {
  delays d;
  lock_process head(name());
  for (int round = 0; round < 15; ++round) {
    lock_process holder(name(), {}, [] {
      sys.futex_wake = [](const std::uint32_t*, int) {
        ::raise(SIGKILL);
        return 0;
      };
    });
    ASSERT_TRUE(holder.acquire(forever));
    queue(head);
    const auto released = steady_now();
    EXPECT_THROW((void)holder.release(), std::runtime_error);
    d.add(head.end_acquire().ended - released);
    ASSERT_EQ(head.release(), std::error_code());
  }
  d.print("from a release that killed before it woke anybody to the grant");
  EXPECT_LT(d.median(), 25ms);
}

}  // namespace
}  // namespace lockbyfile
