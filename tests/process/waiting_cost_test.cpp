// SPDX-License-Identifier: Apache-2.0
//
// What waiting costs, and what it does not do.
#include <gtest/gtest.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <thread>

#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

std::chrono::nanoseconds processor_time_of(unsigned pid) {
  clockid_t clock{};
  struct timespec t {};
  if (::clock_getcpuclockid(static_cast<pid_t>(pid), &clock) != 0 ||
      ::clock_gettime(clock, &t) != 0)
    throw std::runtime_error("no processor time of " + std::to_string(pid));
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

using WaitingTiming = LockTest;

/// The yardstick are as many processes that do nothing but wake up, all together every 4 ms. (One
/// that does so alone stays in the processor's caches, and on a virtual machine is up to ten times
/// as cheap as one that comes back after a second.) The line makes some 600 looks a second. With
/// each waiter polling, it would be 200 times the yardstick.
TEST_F(WaitingTiming, OfTwoHundredForTenSecondsCostsAFewPlainSleepersSlow) {  // TORTURE 45
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  std::deque<lock_process> waiters;
  for (int i = 0; i < 200; ++i) {
    waiters.emplace_back(name());
    waiters.back().begin_acquire(forever);
  }
  wait_for_line_of(waiters.size());
  std::deque<child> sleepers;
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    sleepers.emplace_back([](talk&) {
      for (;;) std::this_thread::sleep_for(200 * 4ms);
    });
  }
  std::this_thread::sleep_for(2s);  // until all have begun

  const auto spent = [](const auto& processes) {
    std::chrono::nanoseconds sum{};
    for (const auto& p : processes) sum += processor_time_of(static_cast<unsigned>(p.pid()));
    return sum;
  };
  const auto before = spent(waiters);
  const auto yardstick_before = spent(sleepers);
  std::this_thread::sleep_for(10s);
  const auto cost = spent(waiters) - before;
  const auto yardstick = spent(sleepers) - yardstick_before;
  const auto percent = [](std::chrono::nanoseconds d) {
    return static_cast<double>(d.count()) / 1e8;
  };
  std::printf("200 waiters: %.2f %% of a core; 200 plain sleepers: %.2f %%\n", percent(cost),
              percent(yardstick));
  EXPECT_LT(cost, 6 * yardstick);
}

using Unrelated = LockTest;

TEST_F(Unrelated, LocksTakenCrosswiseEndInPatienceAndNotInADeadlockError) {  // TORTURE 42
  lock_process one(name());
  lock_process other(name() + "2");
  ASSERT_TRUE(one.acquire(0ns));
  ASSERT_TRUE(other.acquire(0ns));
  lock_process crossing(name() + "2");
  lock_process back(name());
  crossing.begin_acquire(100ms);
  back.begin_acquire(100ms);
  EXPECT_EQ(crossing.end_acquire().error, errc::timed_out);
  EXPECT_EQ(back.end_acquire().error, errc::timed_out);
}

}  // namespace
}  // namespace lockbyfile
