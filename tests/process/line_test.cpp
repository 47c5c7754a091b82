// SPDX-License-Identifier: Apache-2.0
//
// The wait queue: the order of service. A waiter that leaves an open lock untaken for 20 ms is
// skipped, so on a busy machine the order is not certain. A test that claims the order has Timing
// in its name.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "core/instant.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class Line : public LockTest {
 protected:
  Line() { EXPECT_TRUE(holder_.acquire(0ns)); }

  /// `count` processes in the wait queue, one behind the other.
  void queue_up(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      waiters_.emplace_back(name());
      queue(waiters_.back());
    }
  }

  /// Waits until the first waiter has waited so long that newcomers may not go before it.
  void wait_until_the_head_is_entitled() const {
    ASSERT_TRUE(eventually([&] { return look().waiters.at(0).waiting > 2ms; }));
  }

  lock_process holder_{name()};
  std::deque<lock_process> waiters_;
};

using LineTiming = Line;

// P7, TORTURE 46

TEST_F(LineTiming, IsServedInOrderOfArrival) {
  queue_up(10);
  ASSERT_EQ(holder_.release(), std::error_code());
  fencing_token last;
  for (std::size_t i = 0; i < waiters_.size(); ++i) {
    const outcome o = waiters_[i].end_acquire();
    ASSERT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last) << "waiter " << i;
    EXPECT_EQ(o.granted.place, i);
    EXPECT_EQ(o.granted.how, grant_kind::free);
    EXPECT_EQ(look().waiters.size(), waiters_.size() - i - 1) << "more than one was served";
    last = o.granted.token;
    ASSERT_EQ(waiters_[i].release(), std::error_code());
  }
}

TEST_F(LineTiming, IsServedInOrderOfArrivalWhenEachOneDies) {
  queue_up(5);
  holder_.kill();
  for (lock_process& waiter : waiters_) {
    const outcome o = waiter.end_acquire();
    ASSERT_TRUE(o) << o;
    EXPECT_EQ(o.granted.how, grant_kind::abandoned);
    waiter.kill();
  }
}

TEST_F(LineTiming, IsServedInOrderOfArrivalWhenEachLeaseRunsOut) {
  for (int i = 0; i < 5; ++i) {
    waiters_.emplace_back(name(), lock_options{.lease = 20ms});
    queue(waiters_.back());
  }
  holder_.kill();
  fencing_token last;
  for (lock_process& waiter : waiters_) {
    const outcome o = waiter.end_acquire();
    ASSERT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last);
    last = o.granted.token;
  }
}

TEST_F(LineTiming, WhoGivesUpIsSkippedAndTheRestKeepTheirOrder) {
  lock_process first(name());
  lock_process impatient(name());
  lock_process last(name());
  queue(first);
  queue(impatient, 50ms);
  queue(last);
  EXPECT_EQ(impatient.end_acquire().error, errc::timed_out);
  const lock_state state = look();
  ASSERT_EQ(state.waiters.size(), 2U);
  EXPECT_EQ(state.waiters[0].who.pid, first.pid());
  EXPECT_EQ(state.waiters[1].who.pid, last.pid());
  queue(impatient);  // anew, and so at the end
  ASSERT_EQ(holder_.release(), std::error_code());
  for (lock_process* p : {&first, &last, &impatient}) {
    ASSERT_TRUE(p->end_acquire());
    ASSERT_EQ(p->release(), std::error_code());
  }
}

TEST_F(LineTiming, WhoReleasesAndComesAgainJoinsAtTheEnd) {
  queue_up(3);
  wait_until_the_head_is_entitled();
  ASSERT_EQ(holder_.release(), std::error_code());
  holder_.begin_acquire(forever);
  for (lock_process& waiter : waiters_) {
    ASSERT_TRUE(waiter.end_acquire());
    ASSERT_TRUE(eventually([&] { return !look().waiters.empty(); }));
    ASSERT_EQ(waiter.release(), std::error_code());
  }
  EXPECT_TRUE(holder_.end_acquire());
}

TEST_F(Line, ANewcomerMayNotGoBeforeAHeadThatHasWaitedAMillisecond) {
  // The first waiter is stopped, so the lock stays open while the newcomer tries. The first waiter
  // may be skipped only after 20 ms. If the newcomer was slower, the round proves nothing.
  named_lock newcomer(name());
  bool learnt = false;
  for (int round = 0; round < 200 && !learnt; ++round) {
    lock_process head(name());
    queue(head);
    wait_until_the_head_is_entitled();
    head.stop();
    const auto start = steady_now();
    ASSERT_EQ(holder_.release(), std::error_code());
    const bool went_first = newcomer.try_lock();
    learnt = steady_now() - start < 15ms;
    if (learnt) {
      EXPECT_FALSE(went_first);
    }
    newcomer.unlock();
    head.kill();
    ASSERT_TRUE(holder_.acquire(forever));
  }
  EXPECT_TRUE(learnt) << "this machine is too slow";
}

/// A newcomer that goes before a wait queue whose first waiter does not take the lock.
class NewcomersRelease : public Line {
 protected:
  NewcomersRelease() {
    queue_up(1);
    waiters_[0].stop();
    EXPECT_EQ(holder_.release(), std::error_code());
  }
  void TearDown() override { waiters_[0].go_on(); }

  /// Takes the lock first and frees it; since when it was held, and by its word for how long.
  instant holds_it(std::uint32_t usual_hold, std::chrono::nanoseconds hold = 0ns) {
    const auto goes_first = [&] {
      file_->header.usual_hold = usual_hold;
      file_->header.barge_until = now() + 500'000;
      return newcomer_.try_lock();
    };
    if (!eventually(goes_first)) throw std::runtime_error("it may not go first");
    const instant since = file_.holder().since;
    std::this_thread::sleep_for(hold);
    newcomer_.unlock();
    return file_->header.opened_at - since;
  }

  void expect_the_begin() {
    EXPECT_TRUE(eventually([&] { return holds_it(100) == 0; })) << "it reads the clock each time";
  }

  named_lock newcomer_{name()};
  const mapped_lockfile file_{name()};
};

TEST_F(NewcomersRelease, OfAHoldWithinATickIsToldByItsBegin) { expect_the_begin(); }

TEST_F(NewcomersRelease, OfALongerHoldIsToldExactly) {  // P7: or those behind come too early
  for (int i = 0; i < 10; ++i) {
    expect_the_begin();
    EXPECT_GE(holds_it(100, 30ms), 30'000'000U);
  }
}

TEST_F(NewcomersRelease, IsToldExactlyWhereHoldsAreUsuallyLonger) {
  for (int i = 0; i < 10; ++i) {
    expect_the_begin();
    EXPECT_GT(holds_it(10'000), 0U);
  }
}

TEST_F(LineTiming, SaysHowManyWereAheadAndHowLongItTook) {
  queue_up(2);
  ASSERT_EQ(holder_.release(), std::error_code());
  const outcome first = waiters_[0].end_acquire();
  ASSERT_EQ(waiters_[0].release(), std::error_code());
  const outcome second = waiters_[1].end_acquire();
  EXPECT_EQ(first.granted.place, 0U);
  EXPECT_EQ(second.granted.place, 1U);
  for (const outcome& o : {first, second}) {
    EXPECT_GT(o.granted.waited, 0ns);
    EXPECT_LE(o.granted.waited, o.ended - o.begun);
  }
  ASSERT_EQ(waiters_[1].release(), std::error_code());
  EXPECT_EQ(waiters_[1].acquire(0ns).granted.place, 0U);
}

TEST_F(Line, WhoGivesUpNextToAFreeLockWakesThoseWhoseNextLookIsAfterTheirTurn) {  // P6
  const mapped_lockfile file(name());
  queue_up(1);
  waiters_.front().stop();
  for (int round = 0;; ++round) {
    ASSERT_LT(round, 20) << "the one between always came to its turn, in 20 ms";
    named_lock between(name());
    std::stop_source gives_up;
    std::error_code ec;
    std::jthread waiting([&] { (void)between.acquire(forever, gives_up.get_token(), ec); });
    wait_for_line_of(2);
    lock_process last(name());
    queue(last);
    file::slot& slot = file.slot_of(last.pid());
    EXPECT_EQ(holder_.release(), std::error_code());
    const std::uint32_t woken = slot.wake.load();
    slot.next_look.store(file->header.opened_at.load() + milliseconds(24));
    gives_up.request_stop();
    waiting.join();
    const std::uint32_t woken_since = slot.wake.load();
    EXPECT_TRUE(last.end_acquire());
    EXPECT_EQ(last.release(), std::error_code());
    ASSERT_TRUE(holder_.acquire(forever));
    if (ec != errc::cancelled) continue;  // it was granted the lock
    EXPECT_GT(woken_since, woken);
    break;
  }
}

TEST_F(Line, OfManyWaitersNobodyIsForgotten) {  // P6
  queue_up(30);
  ASSERT_EQ(holder_.release(), std::error_code());
  std::vector<lock_process*> all;
  for (lock_process& waiter : waiters_) all.push_back(&waiter);
  serve(all);
  EXPECT_TRUE(look().waiters.empty());
}

}  // namespace
}  // namespace lockbyfile
