// SPDX-License-Identifier: Apache-2.0
//
// `etcdctl lock` and ours are one lock: with ?raw under the same name, else under the name with
// `:lock` after it.
#include "command/shell.hpp"
#include "support/etcd_server.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class EtcdCtl : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
    static int number = 0;
    const std::string key = "ctl/" + std::to_string(++number);
    name_ = etcd_server::shared().url(key) + (GetParam() ? "?raw" : "");
    theirs_ = GetParam() ? key : key + ":lock";
  }

  /// Holds the lock, as soon as it says the key, until it is interrupted.
  background ctl_lock(const std::string& command = "") const {
    return {directory_.path(), "exec etcdctl --endpoints=" + etcd_server::shared().endpoint() +
                                   " lock '" + theirs_ + "' " + command};
  }
  void wait_for_line_of(std::size_t count) const { ::wait_for_line_of(name_, count); }

  temporary_directory directory_;
  std::string name_;
  std::string theirs_;
};
INSTANTIATE_TEST_SUITE_P(Names, EtcdCtl, ::testing::Bool(),
                         [](const auto& i) { return i.param ? "Raw" : "Encoded"; });

TEST_P(EtcdCtl, LockKeepsUsOutAndHandsOnToUs) {
  auto they = ctl_lock();
  EXPECT_TRUE(they.hear().starts_with(theirs_ + "/"));
  EXPECT_FALSE(named_lock(name_).try_lock());
  lock_process we(name_);
  we.begin_acquire(forever);
  wait_for_line_of(1);
  they.signal(SIGINT);
  EXPECT_TRUE(we.end_acquire());
}

TEST_P(EtcdCtl, LockAndOursTakeTurnsInOrder) {
  lock_process first(name_);
  lock_process third(name_);
  ASSERT_TRUE(first.acquire(0ns));
  auto second = ctl_lock();
  wait_for_line_of(1);
  third.begin_acquire(forever);
  wait_for_line_of(2);
  auto fourth = ctl_lock();
  wait_for_line_of(3);

  EXPECT_EQ(first.release(), std::error_code());
  second.hear();
  EXPECT_TRUE(third.is_waiting());
  second.signal(SIGINT);
  EXPECT_TRUE(third.end_acquire());
  wait_for_line_of(1);
  EXPECT_EQ(third.release(), std::error_code());
  fourth.hear();
  fourth.signal(SIGINT);
}

TEST_P(EtcdCtl, LockHasARevisionBetweenTheTokensBeforeAndAfter) {
  named_lock lock(name_);
  const auto before = lock.acquire().token.value();
  lock.unlock();
  auto they = ctl_lock("-- sh -c 'echo $ETCD_LOCK_REV'");
  const auto between = std::stoull(they.hear());
  EXPECT_EQ(they.wait(), 0);
  const auto after = lock.acquire().token.value();
  EXPECT_LT(before, between);
  EXPECT_LT(between, after);
}

TEST_P(EtcdCtl, LockWaitsNoLongerThanOurLeaseWhichRanOutBeforeItCame) {
  named_lock lock(name_, {.lease = 200ms});
  lock.acquire();
  if (!eventually([&] { return !lock.is_held(); })) FAIL();
  auto they = ctl_lock();
  they.hear();
  EXPECT_FALSE(lock.is_held());
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  they.signal(SIGINT);
}

}  // namespace
}  // namespace lockbyfile
