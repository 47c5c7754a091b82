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

/// The yardstick is a process that does nothing but wake up every 4 ms: 0.3 % of a core of
/// a quiet machine. The line makes 450 looks a second, however long it is: 1 %. With each
/// waiter polling, it would be 200 times the yardstick.
TEST_F(WaitingTiming, OfTwoHundredForTenSecondsCostsAFewPlainSleepersSlow) {  // TORTURE 45
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  std::deque<lock_process> waiters;
  for (int i = 0; i < 200; ++i) {
    waiters.emplace_back(name());
    waiters.back().begin_acquire(forever);
  }
  wait_for_line_of(waiters.size());
  const child sleeper([](talk&) {
    for (;;) std::this_thread::sleep_for(4ms);
  });

  const auto spent = [&] {
    std::chrono::nanoseconds sum{};
    for (const lock_process& w : waiters) sum += processor_time_of(w.pid());
    return sum;
  };
  const auto before = spent();
  const auto yardstick_before = processor_time_of(static_cast<unsigned>(sleeper.pid()));
  std::this_thread::sleep_for(10s);
  const auto cost = spent() - before;
  const auto yardstick = processor_time_of(static_cast<unsigned>(sleeper.pid())) - yardstick_before;
  const auto percent = [](std::chrono::nanoseconds d) {
    return static_cast<double>(d.count()) / 1e8;
  };
  std::printf("200 waiters: %.2f %% of a core; a plain sleeper: %.2f %%\n", percent(cost),
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
