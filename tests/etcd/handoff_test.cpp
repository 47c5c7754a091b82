// SPDX-License-Identifier: Apache-2.0
//
// A release reaches the waiter at once, even on a server that others write to. A watch that starts
// in the past would be served only every 100 ms (watch.hpp, W1).
#include <algorithm>
#include <chrono>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "support/etcd_server.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

/// `second` waits for `first`, which holds the lock and releases it.
void hand_over(named_lock& first, named_lock& second, const std::string& name) {
  std::thread waiter([&] { (void)second.acquire(); });
  wait_for_line_of(name, 1);
  first.unlock();
  waiter.join();
}

TEST(EtcdHandoff, AfterItWhoLooksSeesTheTokenAndMayBreakByIt) {  // keeper.cpp, E6
  if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
  const std::string name = etcd_server::shared().url("shown");
  named_lock first(name);
  named_lock second(name);
  const grant before = first.acquire();
  hand_over(first, second, name);
  const lock_state state = observe(name);
  ASSERT_TRUE(state.holder);
  EXPECT_EQ(state.holder->token, second.token());
  EXPECT_GT(second.token(), before.token);
  EXPECT_EQ(state.grants.at(0).token, second.token());
  break_lock(name, second.token());
  EXPECT_TRUE(eventually([&] { return !second.is_held(); }));
}

TEST(EtcdHandoff, IsInOrderOfArrivalAlsoForWhoFoundTheLockFreeTheLastTime) {  // acquire.cpp, A5
  if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
  const std::string name = etcd_server::shared().url("again");
  lock_process holder(name);
  lock_process first(name);
  lock_process second(name);
  for (lock_process* p : {&first, &second}) {
    ASSERT_TRUE(p->acquire(forever));
    ASSERT_EQ(p->release(), std::error_code());
  }
  ASSERT_TRUE(holder.acquire(forever));
  first.begin_acquire(forever);
  wait_for_line_of(name, 1);
  second.begin_acquire(forever);
  wait_for_line_of(name, 2);
  ASSERT_EQ(holder.release(), std::error_code());
  const outcome before = first.end_acquire();
  ASSERT_TRUE(before) << before;
  EXPECT_EQ(before.granted.place, 0U);
  ASSERT_EQ(first.release(), std::error_code());
  const outcome after = second.end_acquire();
  ASSERT_TRUE(after) << after;
  EXPECT_EQ(after.granted.place, 1U);
  EXPECT_GT(after.granted.token, before.granted.token);
}

/// Each write is a revision, which tokens count.
TEST(EtcdHandoff, OfALockThatIsReleasedAtOnceIsOneWrite) {  // line.hpp, L2
  if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
  const std::string name = etcd_server::shared().url("moment");
  named_lock first(name);
  named_lock second(name);
  std::vector<std::uint64_t> writes;
  for (int i = 0; i < 21; ++i) {
    const std::uint64_t begun = first.acquire().token.value();
    hand_over(first, second, name);
    std::this_thread::sleep_for(5ms);
    second.unlock();  // now and then not within the 20 ms after which the grant is marked
    writes.push_back(first.acquire().token.value() - begun);
    first.unlock();
  }
  std::sort(writes.begin(), writes.end());
  EXPECT_EQ(writes[writes.size() / 2], 4u)
      << "the second joins, the first releases, the second releases, the first acquires";
}

TEST(EtcdHandoffTiming, IsNotDelayedByWhatOthersWrite) {
  if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
  const std::string name = etcd_server::shared().url("handoff");
  std::jthread others([](const std::stop_token& stop) {
    named_lock lock(etcd_server::shared().url("others"));
    while (!stop.stop_requested()) {
      (void)lock.acquire();
      lock.unlock();
    }
  });
  named_lock first(name);
  named_lock second(name);
  std::vector<std::chrono::duration<double, std::milli>> handoffs;
  for (int i = 0; i < 21; ++i) {
    (void)first.acquire();
    std::chrono::steady_clock::time_point granted;
    std::thread waiter([&] {
      (void)second.acquire();
      granted = std::chrono::steady_clock::now();
      second.unlock();
    });
    wait_for_line_of(name, 1);
    const auto released = std::chrono::steady_clock::now();
    first.unlock();
    waiter.join();
    handoffs.emplace_back(granted - released);
  }
  std::sort(handoffs.begin(), handoffs.end());
  EXPECT_LT(handoffs[handoffs.size() / 2], 25ms) << "the median";
}

}  // namespace
}  // namespace lockbyfile
