// SPDX-License-Identifier: Apache-2.0
//
// fork, with an engine that has threads and connections.
#include <sys/wait.h>

#include "support/child.hpp"
#include "support/etcd_server.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class EtcdFork : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
    name_ = etcd_server::shared().url(
        std::string("fork/") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  std::string name_;
};

TEST_F(EtcdFork, AChildHoldsNothingAndTheParentGoesOn) {
  named_lock lock(name_);
  lock.acquire();
  child c([&](talk& t) {
    std::error_code ec;
    lock.release(ec);
    t.say(ec == errc::not_holder && !lock.is_held() && !lock.token() ? "nothing" : "something");
  });
  c.expect("nothing");
  EXPECT_EQ(c.wait(), 0);
  EXPECT_TRUE(lock.is_held());
  EXPECT_EQ(named_lock(name_).try_lock(), false);
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, std::error_code());
}

TEST_F(EtcdFork, ALockMadeBeforeForkExcludesAllChildrenThatUseIt) {
  named_lock lock(name_);
  lock.acquire();
  const auto take = [&](talk& t) {
    lock.acquire();
    t.say("held");
    t.hear();
    lock.unlock();
  };
  child one(take);
  child two(take);
  wait_for_line_of(name_, 2);
  EXPECT_FALSE(one.has_spoken() || two.has_spoken());
  lock.unlock();
  if (!eventually([&] { return one.has_spoken() || two.has_spoken(); })) FAIL();
  child& first = one.has_spoken() ? one : two;
  child& second = one.has_spoken() ? two : one;
  first.expect("held");
  EXPECT_FALSE(second.has_spoken());
  first.say("go on");
  second.expect("held");
  second.say("go on");
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(two.wait(), 0);
}

TEST_F(EtcdFork, AChildThatEndsOrdinarilyDoesNotDisturbTheParentsLock) {
  named_lock lock(name_);
  lock.acquire();
  const pid_t pid = ::fork();
  if (pid == 0) std::exit(7);  // with all destructors of static objects
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status)) << "by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(lock.is_held());
  EXPECT_FALSE(named_lock(name_).try_lock());
}

TEST_F(EtcdFork, AProcessThatExitsWhileItHoldsALockEndsOrdinarily) {
  (void)observe(name_ = etcd_server::shared().url("fork/exit"), {}, *new std::error_code);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto* lock = new named_lock(name_);  // never destroyed
    lock->acquire();
    std::exit(7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status)) << "by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(observe(name_).holder) << "until its lease in etcd ends";
}

}  // namespace
}  // namespace lockbyfile
