// SPDX-License-Identifier: Apache-2.0
//
// How a holder learns that its grant is lost.
#include <future>

#include "support/etcd_server.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class EtcdKeepAlive : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
    server_.emplace();
  }
  std::optional<etcd_server> server_;
};

TEST_F(EtcdKeepAlive, TellsAtOnceThatTheKeyIsGone) {
  named_lock lock(server_->url("x?ttl=100"), {.lease = 100s});
  lock.acquire();
  std::promise<std::error_code> lost;
  const keep_alive k(lock, [&](std::error_code why) { lost.set_value(why); });
  server_->ctl("del x:lock/ --prefix");
  auto why = lost.get_future();
  ASSERT_EQ(why.wait_for(20s), std::future_status::ready) << "at the next renewal, after 33 s";
  EXPECT_EQ(why.get(), errc::lease_lost);
  EXPECT_FALSE(lock.is_held());
}

TEST_F(EtcdKeepAlive, TellsOfABreakThoughTheMemberThatItWatchedAtIsSilent) {
  etcd_gateway first(*server_);
  named_lock lock(first.url("x?ttl=3"));
  lock.acquire();
  std::promise<std::error_code> lost;
  const keep_alive k(lock, [&](std::error_code why) { lost.set_value(why); });
  ASSERT_TRUE(eventually([&] { return server_->watchers() == 1; }));
  first.stop();
  break_lock(server_->url("x"), lock.token());
  auto why = lost.get_future();
  ASSERT_EQ(why.wait_for(9s), std::future_status::ready) << "at the next keep-alive, after 1 s";
  EXPECT_EQ(why.get(), errc::lease_lost);
}

TEST_F(EtcdKeepAlive, WatchesAtAnotherMemberSoonWhenTheFirstIsSilent) {
  etcd_gateway first(*server_);
  named_lock lock(first.url("x?ttl=3"));
  lock.acquire();
  ASSERT_TRUE(eventually([&] { return server_->watchers() == 1; }));
  first.stop();
  const auto stopped = steady_now();
  // The first is still there, as far as etcd knows.
  ASSERT_TRUE(eventually([&] { return server_->watchers() == 2; }));
  EXPECT_LT(steady_now() - stopped, 10s) << "the next keep-alive comes after 1 s, gRPC's after 13";
}

TEST_F(EtcdKeepAlive, GoesOnWhenTheServerIsBackInTime) {
  named_lock lock(server_->url("x?ttl=60"), {.lease = 12s});
  lock.acquire();
  std::atomic<bool> is_lost{false};
  const keep_alive k(lock, [&](std::error_code) { is_lost = true; });
  server_->kill();
  std::this_thread::sleep_for(7s);  // a renewal has failed: they come every 4 s, and try for 2
  server_->start();
  std::error_code ec;
  lock.renew(ec);
  EXPECT_EQ(ec, std::error_code());
  EXPECT_FALSE(is_lost);
  EXPECT_TRUE(lock.is_held());
}

TEST_F(EtcdKeepAlive, TellsBeforeTheLockCanOpenThatNoServerAnswers) {
  named_lock lock(server_->url("x?ttl=3"), {.lease = 100s});  // renewed every 33 s
  lock.acquire();
  std::promise<std::error_code> lost;
  const keep_alive k(lock, [&](std::error_code why) { lost.set_value(why); });
  const auto stopped = std::chrono::steady_clock::now();
  server_->stop();
  auto why = lost.get_future();
  ASSERT_EQ(why.wait_for(60s), std::future_status::ready);
  EXPECT_LT(std::chrono::steady_clock::now() - stopped, 6s) << "3 s and a wide margin";
  EXPECT_NE(why.get(), std::error_code());
  server_->go_on();
}

}  // namespace
}  // namespace lockbyfile
