// SPDX-License-Identifier: Apache-2.0
//
// Leases and patience of every size: exact, or a clear error. Nothing wraps.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <limits>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "core/instant.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr nanoseconds hundred_years = 24h * 365 * 100;
constexpr nanoseconds almost_no_lease = no_lease - 1ns;

// TORTURE 33

using Leases = LockTest;

TEST_F(Leases, OfZeroOrLessAreRefusedByTheConstructorWithTheName) {
  for (const nanoseconds lease : {0ns, -1ns, nanoseconds(-1s), nanoseconds::min()}) {
    try {
      const named_lock lock(name(), {.lease = lease});
      ADD_FAILURE() << lease.count() << " ns was accepted";
    } catch (const lock_error& e) {
      EXPECT_EQ(e.code(), errc::invalid_option);
      EXPECT_EQ(e.path(), name());
      EXPECT_NE(std::string(e.what()).find(std::to_string(lease.count())), std::string::npos)
          << e.what();
    }
  }
  std::error_code ec;
  EXPECT_FALSE(named_lock::open(name(), {.lease = 0ns}, ec));
  EXPECT_EQ(ec, errc::invalid_option);
}

TEST_F(Leases, OfZeroOrLessAreRefusedBySetLeaseAndChangeNothing) {
  named_lock lock(name(), {.lease = 1h});
  for (const nanoseconds lease : {0ns, -1ns, nanoseconds::min()}) {
    EXPECT_THROW(lock.set_lease(lease), lock_error);
  }
  EXPECT_EQ(lock.lease(), 1h);
}

TEST_F(Leases, OfOneNanosecondAreOverAtOnce) {
  named_lock lock(name(), {.lease = 1ns});
  (void)lock.acquire(0ns);
  EXPECT_FALSE(lock.is_held());
  EXPECT_EQ(lock.lease_remaining(), 0ns);
  lock_process other(name());
  EXPECT_EQ(other.acquire(0ns).granted.how, grant_kind::expired);
}

TEST_F(Leases, OfEverySizeAreRecordedExactly) {
  for (const nanoseconds lease :
       {nanoseconds(1s), nanoseconds(1h), hundred_years, almost_no_lease}) {
    named_lock lock(name(), {.lease = lease});
    const nanoseconds before = steady_now();
    (void)lock.acquire(0ns);
    const nanoseconds after = steady_now();

    const auto deadline = mapped_lockfile(name()).holder().lease_deadline.load();
    const auto start = deadline - static_cast<std::uint64_t>(lease.count());
    EXPECT_GE(start, static_cast<std::uint64_t>(before.count()) - longest_lag);
    EXPECT_LE(start, static_cast<std::uint64_t>(after.count())) << "later than promised";

    EXPECT_TRUE(lock.is_held());
    EXPECT_LE(lock.lease_remaining(), lease);
    EXPECT_GT(lock.lease_remaining(), lease - 1min);
    const lock_state state = look();
    ASSERT_TRUE(state.holder);
    EXPECT_EQ(state.holder->lease, lease);
    EXPECT_LE(state.holder->lease_left, lease);
    EXPECT_GT(state.holder->lease_left, lease - 1min);
    lock_process other(name());
    EXPECT_EQ(other.acquire(1ms).error, errc::timed_out);
    lock.renew();
    EXPECT_GT(lock.lease_remaining(), lease - 1min);
  }
}

TEST_F(Leases, BelowASecondAreCountedOnTheExactClock) {
  for (const nanoseconds lease :
       {nanoseconds(100us), nanoseconds(1ms), nanoseconds(999ms), 1s - 1ns}) {
    named_lock lock(name(), {.lease = lease});
    const auto before = static_cast<std::uint64_t>(steady_now().count());
    (void)lock.acquire(0ns);
    const auto after = static_cast<std::uint64_t>(steady_now().count());
    const auto deadline = mapped_lockfile(name()).holder().lease_deadline.load();
    EXPECT_GE(deadline, before + static_cast<std::uint64_t>(lease.count()));
    EXPECT_LE(deadline, after + static_cast<std::uint64_t>(lease.count()));
  }
}

TEST_F(Leases, OfTheLongestDurationNeverEnd) {
  named_lock lock(name());
  EXPECT_EQ(lock.lease(), no_lease);
  (void)lock.acquire(0ns);
  EXPECT_EQ(lock.lease_remaining(), no_lease);
  EXPECT_EQ(look().holder->lease, no_lease);
  EXPECT_EQ(look().holder->lease_left, no_lease);
  lock.renew();
  EXPECT_EQ(lock.lease_remaining(), no_lease);
}

TEST_F(Leases, ThatAreSetCountFromTheNextGrantOrRenewal) {
  named_lock lock(name(), {.lease = 1h});
  (void)lock.acquire(0ns);
  lock.set_lease(hundred_years);
  EXPECT_LE(lock.lease_remaining(), 1h);
  lock.renew();
  EXPECT_GT(lock.lease_remaining(), 2h);
  lock.set_lease(no_lease);
  lock.renew();
  EXPECT_EQ(lock.lease_remaining(), no_lease);
  lock.unlock();
  lock.set_lease(1ns);
  (void)lock.acquire(0ns);
  EXPECT_FALSE(lock.is_held());
}

TEST_F(Leases, OfALockThatIsNotHeldHaveNothingLeft) {
  named_lock lock(name(), {.lease = 1h});
  EXPECT_EQ(lock.lease_remaining(), 0ns);
  (void)lock.acquire(0ns);
  lock.unlock();
  EXPECT_EQ(lock.lease_remaining(), 0ns);
}

using HugePatience = LockTest;

TEST_F(HugePatience, WaitsAndIsServed) {
  lock_process holder(name());
  const std::vector<nanoseconds> huge{hundred_years, almost_no_lease, forever};
  for (const nanoseconds patience : huge) {
    lock_process waiter(name());
    ASSERT_TRUE(holder.acquire(forever));
    queue(waiter, patience);
    ASSERT_EQ(holder.release(), std::error_code());
    EXPECT_TRUE(waiter.end_acquire());
  }
}

TEST_F(HugePatience, InLeaseAndPatienceTogether) {
  for (const nanoseconds size : {hundred_years, almost_no_lease}) {
    lock_process holder(name(), {.lease = size});
    lock_process waiter(name(), {.lease = size, .patience = size});
    ASSERT_TRUE(holder.acquire(size));
    queue(waiter, size);
    holder.kill();
    EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::abandoned);
  }
}

TEST_F(HugePatience, OfOtherUnitsSaturates) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  named_lock lock(name());
  const auto waits_and_is_served = [&](auto call) {
    std::thread waiting([&] { EXPECT_TRUE(call()); });
    wait_for_line_of(1);
    EXPECT_EQ(holder.release(), std::error_code());
    waiting.join();
    lock.unlock();
    ASSERT_TRUE(holder.acquire(forever));
  };
  using std::chrono::duration;
  waits_and_is_served([&] { return lock.try_lock_for(std::chrono::hours::max()); });
  waits_and_is_served([&] { return lock.try_lock_for(duration<double>(1e300)); });
  waits_and_is_served(
      [&] { return lock.try_lock_for(duration<double>(std::numeric_limits<double>::infinity())); });
  waits_and_is_served(
      [&] { return lock.try_lock_until(std::chrono::steady_clock::time_point::max()); });
  waits_and_is_served(
      [&] { return lock.try_lock_until(std::chrono::system_clock::time_point::max()); });
}

using NoPatience = LockTest;

TEST_F(NoPatience, TriesOnceWhateverItsSignAndUnit) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  named_lock lock(name());
  using std::chrono::duration;
  const auto tries = [&] {
    std::vector<bool> got;
    std::error_code ec;
    for (const nanoseconds patience : {0ns, -1ns, nanoseconds::min()}) {
      got.push_back(lock.acquire(patience, {}, ec).has_value());
      lock.unlock();
    }
    got.push_back(lock.try_lock());
    lock.unlock();
    got.push_back(lock.try_lock_for(0s));
    lock.unlock();
    got.push_back(lock.try_lock_for(std::chrono::hours::min()));
    lock.unlock();
    got.push_back(lock.try_lock_for(duration<double>(-1e300)));
    lock.unlock();
    got.push_back(lock.try_lock_for(duration<double>(-std::numeric_limits<double>::infinity())));
    lock.unlock();
    got.push_back(lock.try_lock_for(duration<double>(std::numeric_limits<double>::quiet_NaN())));
    lock.unlock();
    got.push_back(lock.try_lock_until(std::chrono::steady_clock::now() - 1s));
    lock.unlock();
    got.push_back(lock.try_lock_until(std::chrono::steady_clock::time_point()));
    lock.unlock();
    return got;
  };
  const auto while_held = tries();
  EXPECT_EQ(while_held, std::vector<bool>(while_held.size(), false));
  EXPECT_TRUE(look().waiters.empty());
  ASSERT_EQ(holder.release(), std::error_code());
  const auto while_free = tries();
  EXPECT_EQ(while_free, std::vector<bool>(while_free.size(), true));
}

TEST_F(NoPatience, UntilTheBeginningOfTimeDoesNotWrapToItsEnd) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  child impatient([this](talk& t) {
    ::alarm(5);  // a wrap makes it wait forever
    named_lock lock(name());
    const bool got = lock.try_lock_until(std::chrono::steady_clock::time_point::min()) ||
                     lock.try_lock_until(std::chrono::system_clock::time_point::min());
    t.say(got ? "got it" : "gave up");
  });
  EXPECT_NO_THROW(impatient.expect("gave up"));
}

}  // namespace
}  // namespace lockbyfile
