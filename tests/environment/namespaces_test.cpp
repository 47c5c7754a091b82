// SPDX-License-Identifier: Apache-2.0
//
// Containers: holder and waiter in different worlds. A live lock is not stolen, a dead one
// is freed: TORTURE 23, 24. (Time namespaces: file/clock_test.cpp.)
#include "support/namespaces.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <ostream>
#include <string>

#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

void stay() {}

/// The namespaces of the holder and of the waiters.
struct worlds {
  std::string name;
  std::function<void()> holders;
  std::function<void()> waiters;
  friend std::ostream& operator<<(std::ostream& out, const worlds& w) { return out << w.name; }
};

const worlds all_worlds[] = {
    {"HolderInAPidNamespace", enter_pid_namespace, stay},
    {"WaiterInAPidNamespace", stay, enter_pid_namespace},
    {"EachInAPidNamespace", enter_pid_namespace, enter_pid_namespace},  // both have pid 1
    {"HolderInAUserNamespace", enter_user_namespace, stay},
    {"WaiterInAUserNamespace", stay, enter_user_namespace},
    {"HolderInAUserNamespaceWithoutUsers", enter_unmapped_user_namespace, stay},
    {"WaiterInAUserNamespaceWithoutUsers", stay, enter_unmapped_user_namespace},
    {"EachOnAHostOfItsOwn", enter_another_host, enter_another_host},
};

class Namespaces : public LockTest, public ::testing::WithParamInterface<worlds> {
 protected:
  void SetUp() override {
    if (!can_enter(GetParam().holders) || !can_enter(GetParam().waiters))
      GTEST_SKIP() << "such namespaces are not permitted";
  }
};

INSTANTIATE_TEST_SUITE_P(With, Namespaces, ::testing::ValuesIn(all_worlds),
                         [](const auto& p) { return p.param.name; });

TEST_P(Namespaces, ALiveLockIsNotStolen) {
  lock_process holder(name(), {}, GetParam().holders);
  lock_process waiter(name(), {.lease = 1ms}, GetParam().waiters);
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(waiter.acquire(20ms).error, errc::timed_out);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(look().holder->token, held.granted.token);
  EXPECT_TRUE(look().holder->alive);
  queue(waiter);
  EXPECT_EQ(holder.release(), std::error_code());
  const outcome next = waiter.end_acquire();
  EXPECT_EQ(next.granted.how, grant_kind::free);
  EXPECT_GT(next.granted.token, held.granted.token);
}

TEST_P(Namespaces, ADeadHoldersLockIsFreedInTime) {
  lock_process holder(name(), {}, GetParam().holders);
  lock_process waiter(name(), {}, GetParam().waiters);
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  const auto killed = steady_now();
  holder.kill();
  const outcome taken = waiter.end_acquire();
  EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
  EXPECT_LT(taken.ended - killed, 5s) << "a clock of seconds: see BoundsTiming for 10 ms";
}

TEST_P(Namespaces, AWaiterThatDiesDelaysNobody) {
  lock_process holder(name(), {}, GetParam().holders);
  lock_process waiter(name(), {}, GetParam().waiters);
  lock_process next(name(), {}, GetParam().holders);
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  queue(next);
  waiter.kill();
  EXPECT_EQ(holder.release(), std::error_code());
  EXPECT_EQ(next.end_acquire().granted.how, grant_kind::free);
}

TEST_P(Namespaces, ALeaseRunsOutInEachOfThem) {
  lock_process holder(name(), {.lease = 30ms}, GetParam().holders);
  lock_process waiter(name(), {}, GetParam().waiters);
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  const outcome taken = waiter.acquire(forever);
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
  EXPECT_GE(taken.ended - held.begun, 30ms);
  EXPECT_EQ(holder.release(), errc::lease_lost);
}

using PidNamespace = LockTest;

TEST_F(PidNamespace, ShowsThePidOfTheHoldersOwn) {  // grant.hpp, party
  if (!can_enter(enter_pid_namespace)) GTEST_SKIP() << "pid namespaces are not permitted";
  lock_process holder(name(), {}, enter_pid_namespace);
  ASSERT_TRUE(holder.acquire(0ns));
  EXPECT_EQ(look().holder->who.pid, 1U);
  EXPECT_TRUE(look().holder->alive);
}

}  // namespace
}  // namespace lockbyfile
