// SPDX-License-Identifier: Apache-2.0
//
// Who gets a lock that its holder left: by its lease, by death, by neither.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <system_error>
#include <thread>

#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

constexpr auto short_lease = 50ms;

class Takeover : public LockTest {
 protected:
  /// The holder's lease runs out, a successor takes over, and then the old holder does
  /// `action`. Nothing may change by that.
  void expect_harmless(const std::function<void(lock_process& old)>& action) {
    lock_process old(name(), {.lease = short_lease});
    lock_process successor(name());
    lock_process third(name());
    ASSERT_TRUE(old.acquire(0ns));
    const outcome taken = successor.acquire(forever);
    ASSERT_TRUE(taken) << taken;

    action(old);

    const lock_state state = look();
    ASSERT_TRUE(state.holder);
    EXPECT_EQ(state.holder->token, taken.granted.token);
    EXPECT_EQ(state.holder->who.pid, successor.pid());
    EXPECT_TRUE(state.holder->alive);
    EXPECT_TRUE(successor.is_held());
    EXPECT_EQ(third.acquire(0ns).error, errc::timed_out) << "the lock was opened";
    EXPECT_EQ(successor.renew(), std::error_code());
    EXPECT_EQ(successor.release(), std::error_code());
  }
};

// TORTURE 3, P4

TEST_F(Takeover, ReleaseOfAnOldHolderChangesNothingAndSaysLeaseLost) {
  expect_harmless([](lock_process& old) {
    EXPECT_EQ(old.release(), errc::lease_lost);
    EXPECT_EQ(old.release(), errc::not_holder) << "nothing is held after a release";
  });
}

TEST_F(Takeover, RenewOfAnOldHolderChangesNothingAndSaysLeaseLost) {
  expect_harmless([](lock_process& old) {
    EXPECT_EQ(old.renew(), errc::lease_lost);
    EXPECT_EQ(old.renew(), errc::lease_lost);
    EXPECT_FALSE(old.is_held());
  });
}

TEST_F(Takeover, DestructorOfAnOldHolderChangesNothing) {
  expect_harmless([](lock_process& old) { old.destroy(); });
}

TEST_F(Takeover, ExitOfAnOldHolderChangesNothing) {
  expect_harmless([](lock_process& old) { EXPECT_EQ(old.exit(), 0); });
}

TEST_F(Takeover, DeathOfAnOldHolderChangesNothing) {
  expect_harmless([](lock_process& old) { old.kill(); });
}

TEST_F(Takeover, AnOldHolderThatAcquiresAnewWaitsForItsSuccessor) {
  expect_harmless([](lock_process& old) { EXPECT_EQ(old.acquire(10ms).error, errc::timed_out); });
}

TEST_F(Takeover, ReleaseAfterTheLeaseOpensAnUntakenLockButSaysLeaseLost) {  // P4
  named_lock lock(name(), {.lease = 1ns});
  (void)lock.acquire(0ns);
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  EXPECT_FALSE(look().holder);
}

TEST_F(Takeover, RenewAfterTheLeaseSucceedsIfNobodyTookTheLock) {  // DESIGN 4
  named_lock lock(name(), {.lease = 1ns});
  const grant granted = lock.acquire(0ns);
  EXPECT_FALSE(lock.is_held());
  lock.set_lease(1h);
  lock.renew();
  EXPECT_TRUE(lock.is_held());
  EXPECT_EQ(lock.token(), granted.token) << "the token of a grant stays";
  lock_process other(name());
  EXPECT_EQ(other.acquire(0ns).error, errc::timed_out);
}

// TORTURE 4, P3

TEST_F(Takeover, WaitersWithShorterLeasesObeyTheHoldersLongOne) {
  lock_process holder(name(), {.lease = 1h});
  ASSERT_TRUE(holder.acquire(0ns));
  for (const auto lease : {std::chrono::nanoseconds(1ns), std::chrono::nanoseconds(1ms)}) {
    lock_process hasty(name(), {.lease = lease});
    EXPECT_EQ(hasty.acquire(30ms).error, errc::timed_out);
  }
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(holder.release(), std::error_code());
}

TEST_F(Takeover, WaitersWithLongerLeasesObeyTheHoldersShortOne) {
  lock_process holder(name(), {.lease = short_lease});
  lock_process patient(name(), {.lease = 1h});
  ASSERT_TRUE(holder.acquire(0ns));
  const outcome taken = patient.acquire(forever);
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
}

TEST_F(Takeover, ALeaseIsNeverCutShort) {  // P3
  lock_process holder(name(), {.lease = short_lease});
  lock_process waiter(name());
  for (int round = 0; round < 5; ++round) {
    const outcome held = holder.acquire(forever);
    ASSERT_TRUE(held) << held;
    const outcome taken = waiter.acquire(forever);
    ASSERT_TRUE(taken) << taken;
    EXPECT_EQ(taken.granted.how, grant_kind::expired);
    EXPECT_GE(taken.ended - held.begun, short_lease);
    ASSERT_EQ(waiter.release(), std::error_code());
  }
}

TEST_F(Takeover, ARenewedLeaseCountsFromTheRenewal) {  // P3
  constexpr auto lease = 200ms;
  lock_process holder(name(), {.lease = 1h});  // however long the waiter needs
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  ASSERT_EQ(holder.set_lease(lease), std::error_code());
  std::this_thread::sleep_for(lease + 100ms);  // counted from the grant it would be over now
  const auto renewed = steady_now();
  ASSERT_EQ(holder.renew(), std::error_code());
  const outcome taken = waiter.end_acquire();
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
  EXPECT_GE(taken.ended - renewed, lease);
}

TEST_F(Takeover, AWaiterNoticesThatTheLeaseWasMadeShorter) {
  lock_process holder(name(), {.lease = 1h});
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  ASSERT_EQ(holder.set_lease(1ms), std::error_code());
  ASSERT_EQ(holder.renew(), std::error_code());
  EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::expired);
}

// TORTURE 7, P5

TEST_F(Takeover, AGrantOfAReleasedLockSaysFreeAndNamesNobody) {
  lock_process first(name());
  lock_process second(name());
  const outcome held = first.acquire(0ns);
  EXPECT_EQ(held.granted.how, grant_kind::free);
  EXPECT_FALSE(held.granted.previous);
  queue(second);
  ASSERT_EQ(first.release(), std::error_code());
  const outcome taken = second.end_acquire();
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::free);
  EXPECT_FALSE(taken.granted.previous);
}

TEST_F(Takeover, AGrantAfterALeaseSaysExpiredAndWhoHeldIt) {
  lock_process first(name(), {.lease = 1ns, .description = "the first one"});
  lock_process second(name());
  ASSERT_TRUE(first.acquire(0ns));
  const outcome taken = second.acquire(0ns);
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
  EXPECT_EQ(taken.granted.previous, (party{first.pid(), ::geteuid(), "the first one"}));
}

TEST_F(Takeover, AGrantAfterADeathSaysAbandonedAndWhoHeldIt) {
  lock_process first(name(), {.description = "the first one"});
  lock_process second(name());
  ASSERT_TRUE(first.acquire(0ns));
  const party dead{first.pid(), ::geteuid(), "the first one"};
  first.kill();
  const outcome taken = second.acquire(0ns);
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
  EXPECT_EQ(taken.granted.previous, dead);
  ASSERT_EQ(second.release(), std::error_code());
  EXPECT_EQ(second.acquire(0ns).granted.how, grant_kind::free) << "told once";
}

TEST_F(Takeover, WhoDiedIsStillToldAfterOthersOpenedTheLock) {
  lock_process first(name(), {.description = "the first one"});
  ASSERT_TRUE(first.acquire(0ns));
  first.kill();
  const mapped_lockfile file(name());
  file->header.slot_hint.store(file.word().slot());
  lock_process second(name());  // looks at the dead holder's slot first, but may not claim it
  lock_process third(name());
  const outcome taken = third.acquire(0ns);
  EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
  ASSERT_TRUE(taken.granted.previous);
  EXPECT_EQ(taken.granted.previous->command, "the first one");
}

TEST_F(Takeover, AWaiterIsToldOfTheDeathItWitnessed) {
  lock_process first(name(), {.lease = 1h});
  lock_process second(name());
  ASSERT_TRUE(first.acquire(0ns));
  queue(second);
  first.kill();
  EXPECT_EQ(second.end_acquire().granted.how, grant_kind::abandoned);
}

TEST_F(Takeover, AHolderThatExitsWithoutReleasingHasAbandonedTheLock) {  // P5
  lock_process first(name());
  lock_process second(name());
  ASSERT_TRUE(first.acquire(0ns));
  queue(second);
  EXPECT_EQ(first.exit(), 0);
  EXPECT_EQ(second.end_acquire().granted.how, grant_kind::abandoned);
}

TEST_F(Takeover, AHolderThatReplacesItsProgramHasAbandonedTheLock) {  // P5, TORTURE 43
  lock_process first(name());
  lock_process second(name());
  ASSERT_TRUE(first.acquire(0ns));
  queue(second);
  first.exec();
  EXPECT_EQ(second.end_acquire().granted.how, grant_kind::abandoned);
}

TEST_F(Takeover, TokensGrowOverGrantsOfEveryKind) {  // P2
  fencing_token last;
  const auto grows = [&](const outcome& o) {
    EXPECT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last);
    last = o.granted.token;
  };
  for (int round = 0; round < 3; ++round) {
    lock_process brief(name(), {.lease = 1ns});
    lock_process mortal(name());
    lock_process good(name());
    grows(brief.acquire(0ns));
    grows(mortal.acquire(0ns));
    mortal.kill();
    grows(good.acquire(0ns));
    ASSERT_EQ(good.renew(), std::error_code());
    ASSERT_EQ(good.release(), std::error_code());
    grows(good.acquire(0ns));
    ASSERT_EQ(good.release(), std::error_code());
  }
}

// TORTURE 22, P3

TEST_F(Takeover, ALivingProcessWithTheDeadHoldersPidDoesNotKeepTheLock) {
  lock_process holder(name());
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  mapped_lockfile(name()).holder().pid.store(static_cast<std::uint32_t>(::getpid()));
  holder.kill();
  const outcome taken = waiter.acquire(0ns);
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
  ASSERT_TRUE(taken.granted.previous);
  EXPECT_EQ(taken.granted.previous->pid, static_cast<unsigned>(::getpid())) << "only shown";
}

TEST_F(Takeover, ALivingHolderIsNotDisplacedForTheDeadPidInItsRecord) {
  lock_process gone(name());
  const unsigned dead_pid = gone.pid();
  gone.kill();
  lock_process holder(name());
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  for (const std::uint32_t pid : {dead_pid, 0U, 0xFFFFFFFFU}) {
    mapped_lockfile(name()).holder().pid.store(pid);
    EXPECT_EQ(waiter.acquire(10ms).error, errc::timed_out);
  }
  EXPECT_TRUE(holder.is_held());
}

}  // namespace
}  // namespace lockbyfile
