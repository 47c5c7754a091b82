// SPDX-License-Identifier: Apache-2.0
//
// Orders of events that would otherwise need luck: a process is stopped between two steps
// of the protocol, the others do their worst, and it goes on.
#include <gtest/gtest.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "file/line.hpp"
#include "file/point.hpp"
#include "linux/system_calls.hpp"
#include "schedule/staged_process.hpp"
#include "support/files.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using file::point;
namespace fs = std::filesystem;

// --- taking ----------------------------------------------------------------------------

using ScheduleOfTaking = LockTest;

TEST_F(ScheduleOfTaking, TwoThatSawTheSameFreeLockOneGetsIt) {  // P1
  staged_process slow(name());
  lock_process fast(name());
  slow.stop_at(point::deadline_written);
  slow.begin_acquire(0ns);
  slow.await_stop();
  ASSERT_TRUE(fast.acquire(0ns));
  slow.go_on();
  EXPECT_EQ(slow.end_acquire().error, errc::timed_out);
  EXPECT_TRUE(fast.is_held());
}

TEST_F(ScheduleOfTaking, TwoThatSawTheSameExpiredGrantOneGetsIt) {  // TORTURE 1, the riddle
  lock_process holder(name(), {.lease = 10ms});
  staged_process slow(name());
  lock_process fast(name());
  ASSERT_TRUE(holder.acquire(0ns));
  slow.stop_at(point::deadline_written);
  slow.begin_acquire(10s);
  slow.await_stop();
  const outcome taken = fast.acquire(10s);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
  slow.go_on();
  wait_for_line_of(1);
  EXPECT_TRUE(fast.is_held()) << "two broke the same lock, and the second broke the first's";
  EXPECT_EQ(fast.release(), std::error_code());
  const outcome next = slow.end_acquire();
  ASSERT_TRUE(next);
  EXPECT_EQ(next.granted.how, grant_kind::free);
  EXPECT_GT(next.granted.token, taken.granted.token);
}

TEST_F(ScheduleOfTaking, TwoThatSawTheSameDeadHolderOneGetsIt) {  // TORTURE 1
  lock_process holder(name());
  staged_process slow(name());
  lock_process fast(name());
  ASSERT_TRUE(holder.acquire(0ns));
  slow.stop_at(point::opening_found);
  holder.kill();
  slow.begin_acquire(10s);
  slow.await_stop();
  ASSERT_TRUE(fast.acquire(10s));
  slow.go_on();
  wait_for_line_of(1);
  EXPECT_TRUE(fast.is_held());
}

TEST_F(ScheduleOfTaking, ATakeoverThatSleptThroughARenewalFails) {  // P3
  lock_process holder(name(), {.lease = 10ms});
  staged_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  waiter.stop_at(point::deadline_written);
  waiter.begin_acquire(forever);
  waiter.await_stop();
  ASSERT_EQ(holder.set_lease(1h), std::error_code());
  ASSERT_EQ(holder.renew(), std::error_code()) << "nobody has been granted the lock since";
  waiter.go_on();
  wait_for_line_of(1);
  EXPECT_TRUE(holder.is_held());
}

TEST_F(ScheduleOfTaking, ATakeoverThatSleptThroughOtherGrantsFails) {  // W2: no ABA
  lock_process holder(name(), {.lease = 10ms});
  staged_process slow(name());
  lock_process fast(name());
  ASSERT_TRUE(holder.acquire(0ns));
  slow.stop_at(point::deadline_written);
  slow.begin_acquire(forever);
  slow.await_stop();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(fast.acquire(10s));
    EXPECT_EQ(fast.release(), std::error_code());
  }
  ASSERT_EQ(holder.set_lease(1h), std::error_code());
  ASSERT_TRUE(holder.acquire(10s)) << "held by the same slot again";
  slow.go_on();
  wait_for_line_of(1);
  EXPECT_TRUE(holder.is_held());
}

TEST_F(ScheduleOfTaking, AHolderIsSeenWithItsDeadlineFromItsFirstInstant) {
  staged_process holder(name(), {.lease = 1h});
  holder.stop_at(point::word_granted);
  holder.begin_acquire(0ns);
  holder.await_stop();
  const auto seen = look().holder;
  ASSERT_TRUE(seen);
  EXPECT_GT(seen->lease_left, 59min);
  lock_process other(name());
  EXPECT_EQ(other.acquire(0ns).error, errc::timed_out) << "P1";
  holder.go_on();
  EXPECT_EQ(holder.end_acquire().granted.token, seen->token);
}

TEST_F(ScheduleOfTaking, OneThatWasStoppedPastItsLeaseWhileTakingIsToldSo) {  // P4
  staged_process slow(name(), {.lease = 10ms});
  lock_process next(name());
  slow.stop_at(point::word_granted);
  slow.begin_acquire(0ns);
  slow.await_stop();
  const outcome taken = next.acquire(10s);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
  slow.go_on();
  const outcome late = slow.end_acquire();
  ASSERT_TRUE(late) << "it was granted the lock, and has lost it";
  EXPECT_LT(late.granted.token, taken.granted.token);
  EXPECT_FALSE(slow.is_held());
  EXPECT_EQ(slow.release(), errc::lease_lost);
  EXPECT_TRUE(next.is_held());
}

// --- renewing and releasing --------------------------------------------------------------

using ScheduleOfRenewing = LockTest;

TEST_F(ScheduleOfRenewing, ThatComesAfterATakeoverIsLostAndHarmless) {  // P4, S2
  staged_process holder(name(), {.lease = 10ms});
  lock_process next(name(), {.lease = 1h});
  ASSERT_TRUE(holder.acquire(0ns));
  holder.stop_at(point::deadline_renewed);
  holder.begin_renew();
  holder.await_stop();
  ASSERT_TRUE(next.acquire(10s)) << "the new deadline counts from the word on";
  holder.go_on();
  EXPECT_EQ(holder.end_deed(), errc::lease_lost);
  EXPECT_TRUE(next.is_held());
  EXPECT_GT(look().holder->lease_left, 59min) << "the deadline is the successor's own";
}

TEST_F(ScheduleOfRenewing, ThatIsStoppedHalfWayEndsWithItsNewLease) {
  staged_process holder(name(), {.lease = 10ms});
  lock_process next(name());
  ASSERT_TRUE(holder.acquire(0ns));
  holder.stop_at(point::word_renewed);
  holder.begin_renew();
  holder.await_stop();
  const outcome taken = next.acquire(10s);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken.granted.how, grant_kind::expired);
  holder.go_on();
  EXPECT_EQ(holder.end_deed(), std::error_code()) << "it was renewed, and then lost";
  EXPECT_EQ(holder.release(), errc::lease_lost);
  EXPECT_TRUE(next.is_held());
}

/// A thread of this process that stops when it reaches a point, until go_on().
class stopped_thread {
 public:
  stopped_thread(point p, std::function<void()> body) {
    file::at_point = stop_there;
    thread_ = std::jthread([this, p, body = std::move(body)] {
      ours_ = this;
      where_ = p;
      body();
      set(ended);
    });
    state_.wait(runs);
    if (state_ == ended) throw std::runtime_error("it did not reach the point");
  }
  ~stopped_thread() { go_on(); }
  stopped_thread(const stopped_thread&) = delete;
  stopped_thread& operator=(const stopped_thread&) = delete;

  void go_on() {
    if (!thread_.joinable()) return;
    set(runs);
    thread_.join();
  }

 private:
  static constexpr int runs = 0;
  static constexpr int stopped = 1;
  static constexpr int ended = 2;

  static void stop_there(point p) noexcept {
    if (ours_ == nullptr || p != where_) return;
    stopped_thread& self = *std::exchange(ours_, nullptr);
    self.set(stopped);
    self.state_.wait(stopped);
  }
  void set(int state) {
    state_ = state;
    state_.notify_all();
  }

  static inline thread_local stopped_thread* ours_ = nullptr;
  static inline thread_local point where_{};
  std::atomic<int> state_{runs};
  std::jthread thread_;
};

constexpr point points_of_renewal[] = {point::deadline_renewed, point::word_renewed};

TEST_F(ScheduleOfRenewing, IsNoLossToAThreadThatAsksMeanwhile) {  // S9
  for (const point p : points_of_renewal) {
    SCOPED_TRACE(named(p).name);
    named_lock lock(name(), {.lease = 1h});
    lock.lock();
    stopped_thread renewal(p, [&] { lock.renew(); });
    EXPECT_TRUE(lock.is_held());
    renewal.go_on();
    EXPECT_TRUE(lock.is_held());
  }
}

TEST_F(ScheduleOfRenewing, DoesNotBringBackWhatAnotherThreadReleasedMeanwhile) {  // S9
  for (const point p : points_of_renewal) {
    SCOPED_TRACE(named(p).name);
    named_lock lock(name(), {.lease = 1h});
    lock.lock();
    std::error_code of_renewal;
    stopped_thread renewal(p, [&] { lock.renew(of_renewal); });
    std::error_code ec;
    lock.release(ec);
    EXPECT_EQ(ec, std::error_code()) << "it was not late";
    EXPECT_FALSE(look().holder);
    renewal.go_on();
    EXPECT_EQ(of_renewal,
              p == point::word_renewed ? std::error_code() : make_error_code(errc::not_holder));
    EXPECT_FALSE(lock.is_held());
    EXPECT_FALSE(look().holder);
  }
}

enum class way { unlock, release };

/// Where a release is stopped, and which one.
using LateRelease = std::tuple<named_point, way>;
class ScheduleOfThreads : public LockTest, public ::testing::WithParamInterface<LateRelease> {};

TEST_P(ScheduleOfThreads, ALateReleaseSparesTheNextGrantOfTheObject) {  // P4, S11
  const auto& [where, how] = GetParam();
  named_lock lock(name());
  std::error_code late;
  stopped_thread first(where.value, [&, how = how] {
    lock.lock();
    break_lock(name(), {});
    how == way::unlock ? lock.unlock() : lock.release(late);
  });
  const grant next = lock.acquire(10s);
  first.go_on();
  EXPECT_TRUE(lock.is_held()) << "another thread's old release has freed it";
  EXPECT_EQ(look().holder.value().token, next.token);
  EXPECT_EQ(late, how == way::release ? make_error_code(errc::lease_lost) : std::error_code());
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, std::error_code());
  EXPECT_FALSE(look().holder);
}

INSTANTIATE_TEST_SUITE_P(Points, ScheduleOfThreads,
                         ::testing::Combine(::testing::Values(named(point::release_begun),
                                                              named(point::release_decided)),
                                            ::testing::Values(way::unlock, way::release)),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param).name) +
                                  (std::get<1>(p.param) == way::unlock ? "_unlock" : "_release");
                         });

using ScheduleOfReleasing = LockTest;

TEST_F(ScheduleOfReleasing, ThatComesAfterATakeoverIsLostAndHarmless) {  // P4, TORTURE 3
  staged_process holder(name(), {.lease = 10ms});
  lock_process next(name());
  ASSERT_TRUE(holder.acquire(0ns));
  holder.stop_at(point::release_decided);
  holder.begin_release();
  holder.await_stop();
  ASSERT_TRUE(next.acquire(10s));
  holder.go_on();
  EXPECT_EQ(holder.end_deed(), errc::lease_lost);
  EXPECT_TRUE(next.is_held());
}

/// A holder with two waiters. The holder is stopped while it passes the lock.
class ScheduleOfPassingOn : public LockTest {
 public:
  void stop_the_holder_at(point p) {
    ASSERT_TRUE(holder.acquire(0ns));
    queue(head);
    queue(second);
    holder.stop_at(p);
    holder.begin_release();
    holder.await_stop();
  }

  staged_process holder{name()};
  lock_process head{name()};
  lock_process second{name()};
};

TEST_F(ScheduleOfPassingOn, ThatWakesNobodyIsNoticedByTheHead) {  // P6, TORTURE 28
  stop_the_holder_at(point::word_freed);
  EXPECT_TRUE(head.end_acquire());
  EXPECT_EQ(head.release(), std::error_code());
  EXPECT_TRUE(second.end_acquire());
}

TEST_F(ScheduleOfPassingOn, WakesAtMostItsHeadAndLatelyNobody) {  // a wake-up that comes too late
  stop_the_holder_at(point::head_chosen);
  ASSERT_TRUE(head.end_acquire());
  holder.go_on();
  EXPECT_EQ(holder.end_deed(), std::error_code());
  EXPECT_TRUE(head.is_held());
  wait_for_line_of(1);
  EXPECT_EQ(head.release(), std::error_code());
  EXPECT_TRUE(second.end_acquire());
}

TEST_F(ScheduleOfReleasing, ByABreakThatReadAnEarlierGrantBreaksNothing) {
  lock_process holder(name());
  staged_process administrator(name());
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  administrator.stop_at(point::holder_read);
  administrator.begin_break(held.granted.token);
  administrator.await_stop();
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_TRUE(holder.acquire(0ns)) << "the same slot again, under another token";
  administrator.go_on();
  EXPECT_EQ(administrator.end_deed(), errc::token_mismatch);
  EXPECT_TRUE(holder.is_held());
}

// --- waiting ------------------------------------------------------------------------------

/// A waiter is stopped on its way to sleep, the lock is freed meanwhile, and it goes on.
class ScheduleOfWaiting : public LockTest, public ::testing::WithParamInterface<named_point> {
 public:
  ScheduleOfWaiting() {
    EXPECT_TRUE(holder.acquire(0ns));
    file->header.usual_hold = 10'000;  // or it would not stand by
    waiter.stop_at(GetParam().value);
    waiter.begin_acquire(forever);
    waiter.await_stop();
  }

  /// Behind the waiter, if that is in the wait queue.
  void queue_another() {
    next.begin_acquire(forever);
    const auto is_next_in_line = [&] {
      const auto all = look().waiters;
      return std::any_of(all.begin(), all.end(),
                         [&](const waiter_info& w) { return w.who.pid == next.pid(); });
    };
    ASSERT_TRUE(eventually([&] { return is_next_in_line() && file.is_last_asleep(); }));
  }

  lock_process holder{name()};
  staged_process waiter{name()};
  lock_process next{name()};
  const mapped_lockfile file{name()};
};

TEST_P(ScheduleOfWaiting, NoReleaseIsMissedOnTheWayToSleep) {  // P6, L3, A2
  ASSERT_EQ(holder.release(), std::error_code());
  const auto gone_on = steady_now();
  waiter.go_on();
  const outcome o = waiter.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_LT(o.ended - gone_on, 1s) << "25 ms and a wide margin";
}

TEST_P(ScheduleOfWaiting, OneThatIsStoppedThereDoesNotBlockTheRest) {  // P6, TORTURE 28
  queue_another();
  ASSERT_EQ(holder.release(), std::error_code());
  const outcome o = next.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(next.release(), std::error_code());
  waiter.go_on();
  EXPECT_TRUE(waiter.end_acquire()) << "it is served again";
}

// P6, TORTURE 26, 47
TEST_P(ScheduleOfWaiting, OneThatIsKilledThereAfterTheReleaseDoesNotBlockTheRest) {
  queue_another();
  ASSERT_EQ(holder.release(), std::error_code());
  waiter.kill();
  const outcome o = next.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::free);
}

INSTANTIATE_TEST_SUITE_P(OnTheWayToSleep, ScheduleOfWaiting,
                         ::testing::Values(named(point::ticket_drawn),
                                           named(point::ticket_published),
                                           named(point::line_joined), named(point::standing_by),
                                           named(point::look_made), named(point::sleep_decided),
                                           named(point::woken)),
                         [](const auto& p) { return p.param.name; });

/// A first waiter that has recently found the lock held for short times.
class ScheduleOfStandingBy : public LockTest {
 public:
  ScheduleOfStandingBy() {
    EXPECT_TRUE(holder.acquire(0ns));
    file->header.usual_hold = 10'000;
  }

  [[nodiscard]] file::slot& slot_of(const lock_process& p) const { return file.slot_of(p.pid()); }
  void let_it_stand_by() {
    file->header.granted_on = 0;  // or it may be in the holder's way
    head.stop_at(point::standing_by);
    head.begin_acquire(forever);
    head.await_stop();
  }
  void let_it_sleep() {
    head.stop_at(point::standing_by);
    queue(head);
  }

  lock_process holder{name()};
  staged_process head{name()};
  lock_process second{name()};
  const mapped_lockfile file{name()};
};

TEST_F(ScheduleOfStandingBy, TakesTheLockWithoutBeingWoken) {
  let_it_stand_by();
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_EQ(slot_of(head).wake, 0U);
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
}

TEST_F(ScheduleOfStandingBy, EndsWithTheHold) {  // and not only in time
  static const mapped_lockfile* seen;
  static int (*real_clock)(clockid_t, struct timespec*);
  static struct timespec last;
  lock_process watching(name(), {}, [this] {
    seen = &file;
    real_clock = std::exchange(sys.clock_gettime, [](clockid_t clock, struct timespec* t) {
      if (clock != CLOCK_MONOTONIC) return real_clock(clock, t);
      static bool stands_still = false;
      if ((*seen)->header.standing_by != 0) stands_still = true;
      const int result = stands_still ? 0 : real_clock(clock, &last);
      *t = last;
      return result;
    });
  });
  watching.begin_acquire(forever);
  const auto& h = file->header;
  ASSERT_TRUE(eventually([&] { return h.standing_by != 0 || h.wanted != 0; }));
  if (h.standing_by == 0) GTEST_SKIP() << "its time was up before it began";
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(watching.end_acquire());
}

TEST_F(ScheduleOfStandingBy, IsFollowedByTheNextWhichTheReleaseWakes) {
  let_it_stand_by();
  queue(second);
  second.stop();  // or it may look by itself right now
  const auto woken = slot_of(second).wake.load();
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_GT(slot_of(second).wake, woken);
  second.go_on();
  head.go_on();
  serve({&head, &second});
}

TEST_F(ScheduleOfStandingBy, EndsInASleepFromWhichTheReleaseWakes) {  // P6, L7
  let_it_stand_by();
  head.stop_at(point::sleep_decided);
  head.go_on();
  head.await_stop();
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_EQ(slot_of(head).wake, 1U);
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
}

TEST_F(ScheduleOfStandingBy, ByOneThatIsNotTheHeadDoesNotLeaveTheHeadAsleep) {  // P6, L7
  file->header.usual_hold = 0;
  let_it_sleep();
  head.stop();  // or it may look by itself right now
  file->header.standing_by = slot_of(head).ticket + 1;
  file->header.wanted = 0;
  const auto woken = slot_of(head).wake.load();
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_GT(slot_of(head).wake, woken);
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
}

TEST_F(ScheduleOfStandingBy, BeginsWithASuccessorThatTheHolderWakes) {
  file->header.usual_hold = 0;
  let_it_sleep();
  queue(second);
  head.stop_at(point::line_left);
  ASSERT_EQ(holder.release(), std::error_code());
  head.await_stop();  // it has the lock
  second.stop();      // or it may look by itself right now
  file->header.usual_hold = 10'000;
  const auto woken = slot_of(second).wake.load();
  head.go_on();
  ASSERT_TRUE(head.end_acquire());
  EXPECT_GT(slot_of(second).wake, woken);
  second.go_on();
  EXPECT_EQ(head.release(), std::error_code());
  EXPECT_TRUE(second.end_acquire());
}

TEST_F(ScheduleOfStandingBy, DoesNotLast) {
  let_it_stand_by();
  head.go_on();
  EXPECT_TRUE(eventually([&] { return slot_of(head).next_look > now(); })) << "it watches for ever";
  EXPECT_EQ(file->header.standing_by, 0U);
}

// Or a long one would cost 5 % of a processor.
TEST_F(ScheduleOfStandingBy, IsDoneOnceForEachGrantAlsoIfItIsRenewed) {
  ASSERT_EQ(holder.set_lease(1h), std::error_code());
  let_it_stand_by();
  head.stop_at(point::standing_by);
  head.go_on();
  instant last = 0;
  for (int looks = 0; looks < 4; ++looks) {
    if (!eventually([&] { return slot_of(head).next_look > std::max(now(), last); }))
      FAIL() << "it does not look and sleep";
    last = slot_of(head).next_look;
    ASSERT_EQ(holder.renew(), std::error_code());
  }
  EXPECT_FALSE(head.was_struck());
}

TEST_F(ScheduleOfStandingBy, IsNotForLocksThatAreHeldForLong) {
  file->header.usual_hold = 1'000'000;
  let_it_sleep();
  EXPECT_FALSE(head.was_struck());
}

TEST_F(ScheduleOfStandingBy, IsNotForLocksThatAreHeldForVeryShortTimes) {  // newcomers go first
  file->header.usual_hold = 100;
  let_it_sleep();
  EXPECT_FALSE(head.was_struck());
}

TEST_F(ScheduleOfStandingBy, IsNotDoneInTheWayOfTheHolder) {
  const int processor = ::sched_getcpu();
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  ASSERT_EQ(::sched_setaffinity(static_cast<pid_t>(head.pid()), sizeof only, &only), 0);
  file->header.granted_on = static_cast<std::uint32_t>(processor) + 1;
  let_it_sleep();
  EXPECT_FALSE(head.was_struck());
}

TEST_F(ScheduleOfStandingBy, GoesByHowLongTheLockIsHeldBesideALine) {
  file->header.usual_hold = 0;
  let_it_sleep();
  queue(second);
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_TRUE(head.end_acquire());
  file->header.usual_hold = 0;
  std::this_thread::sleep_for(1ms);
  ASSERT_EQ(head.release(), std::error_code());
  EXPECT_EQ(file->header.usual_hold, 75'000U) << "a quarter of the most that counts";
  file->header.usual_hold = 100'000;
  ASSERT_TRUE(second.end_acquire());
  ASSERT_EQ(second.release(), std::error_code());
  EXPECT_EQ(file->header.usual_hold, 100'000U) << "nobody was in line";
}

TEST_F(ScheduleOfStandingBy, GoesByNoGrantWhoseBeginTheCoarseClockTold) {
  static int (*real_clock)(clockid_t, struct timespec*);
  lock_process at_once(name(), {}, [] {
    real_clock = std::exchange(sys.clock_gettime, [](clockid_t clock, struct timespec* t) {
      static struct timespec coarse;
      if (clock != CLOCK_MONOTONIC_COARSE) return real_clock(clock, t);
      const int result = coarse.tv_sec == 0 ? real_clock(clock, &coarse) : 0;
      *t = coarse;  // the tick in which it looked at the path never ends
      return result;
    });
  });
  queue(at_once);
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_TRUE(at_once.end_acquire());  // by a look, so by the exact clock
  ASSERT_EQ(at_once.release(), std::error_code());
  ASSERT_TRUE(at_once.acquire(0ns));
  file->header.usual_hold = 10'000;
  let_it_stand_by();
  std::this_thread::sleep_for(1ms);
  ASSERT_EQ(at_once.release(), std::error_code());
  EXPECT_EQ(file->header.usual_hold, 10'000U);
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
}

TEST_F(ScheduleOfStandingBy, IsNotGivenUpForOneLongHold) {
  queue(second);
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_TRUE(second.end_acquire());  // by a look, so by the exact clock
  file->header.usual_hold = 100'000;
  let_it_stand_by();
  std::this_thread::sleep_for(1ms);
  ASSERT_EQ(second.release(), std::error_code());
  EXPECT_GT(file->header.usual_hold, 100'000U);
  EXPECT_LE(file->header.usual_hold, 150'000U);
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
}

/// A first waiter that has found the lock held. This look must not be its last before it sleeps,
/// because the lock has been freed and taken again since.
class ScheduleOfMakingWay : public LockTest {
 public:
  ScheduleOfMakingWay() {
    EXPECT_TRUE(holder.acquire(0ns));
    file->header.usual_hold = 100;
  }

  void let_it_look(staged_process& waiter) {
    waiter.stop_at(point::look_made);
    waiter.begin_acquire(forever);
    waiter.await_stop();
  }
  /// As if by a newcomer, many of which take the lock in this time.
  void take_anew() {
    const file::word held(file->header.word.load());
    file->header.word = file::word::free_at(held.counter() + 1).granted_to(held.slot()).bits();
  }
  void free() {
    file->header.word = file::word::free_at(file::word(file->header.word).counter() + 1).bits();
  }
  /// Lets it decide whether to nap, and returns the decision.
  bool naps(staged_process& waiter) {
    file->header.wanted = 0;
    waiter.stop_at(point::sleep_decided);
    waiter.go_on();
    waiter.await_stop();
    return file->header.wanted == 0;
  }
  [[nodiscard]] file::slot& slot_of(const lock_process& p) const { return file.slot_of(p.pid()); }

  lock_process holder{name()};
  staged_process head{name()};
  const mapped_lockfile file{name()};
};

TEST_F(ScheduleOfMakingWay, OpensTheNewcomersMillisecondAndEndsByItself) {  // P6, L8
  let_it_look(head);
  const instant has_looked = now();
  take_anew();
  file->header.standing_by = slot_of(head).ticket.load();  // it did so before
  ASSERT_TRUE(naps(head));
  EXPECT_EQ(file->header.standing_by, 0U);
  EXPECT_EQ(file->header.barge_until, slot_of(head).waiting_since + file::barging);
  head.stop_at(point::woken);
  head.go_on();
  head.await_stop();
  EXPECT_LE(slot_of(head).next_look, has_looked + file::nap);
  free();
  head.go_on();
  EXPECT_TRUE(head.end_acquire()) << "nobody wakes it";
}

TEST_F(ScheduleOfMakingWay, IsNotForALockThatWasHeldAllTheTime) {
  let_it_look(head);
  EXPECT_FALSE(naps(head));
}

TEST_F(ScheduleOfMakingWay, IsNotForALockThatIsFree) {
  let_it_look(head);
  free();
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
  EXPECT_EQ(file->header.barge_until, 0U);
}

TEST_F(ScheduleOfMakingWay, IsNotForLongerHolds) {
  file->header.usual_hold = 1'000'000;
  let_it_look(head);
  take_anew();
  EXPECT_FALSE(naps(head));
}

TEST_F(ScheduleOfMakingWay, EndsWithTheNewcomersMillisecond) {  // P7
  let_it_look(head);
  slot_of(head).waiting_since = slot_of(head).waiting_since - file::barging;
  take_anew();
  EXPECT_FALSE(naps(head));
}

TEST_F(ScheduleOfMakingWay, IsForTheHeadOnly) {
  staged_process second(name());
  let_it_look(head);
  let_it_look(second);
  take_anew();
  EXPECT_FALSE(naps(second));
}

using ScheduleOfALine = LockTest;

TEST_F(ScheduleOfALine, AHeadThatIsStoppedAfterBeingWokenLosesItsTurnAndNotItsPlace) {  // P6, P7
  lock_process holder(name());
  staged_process head(name());
  lock_process second(name());
  lock_process third(name());
  ASSERT_TRUE(holder.acquire(0ns));
  head.stop_at(point::woken);
  queue(head);
  head.await_stop();  // at its next look
  queue(second);
  queue(third);
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_TRUE(second.end_acquire());
  head.go_on();
  if (!eventually([&] { return look().waiters.front().who.pid == head.pid(); }))
    FAIL() << "it has lost its place";
  ASSERT_EQ(second.release(), std::error_code());
  EXPECT_TRUE(head.end_acquire());
  EXPECT_EQ(head.release(), std::error_code());
  EXPECT_TRUE(third.end_acquire());
}

TEST_F(ScheduleOfALine, OneThatJoinsLateIsNotTakenForOneThatCameLater) {  // P7
  lock_process holder(name());
  staged_process late(name());
  lock_process second(name());
  ASSERT_TRUE(holder.acquire(0ns));
  late.stop_at(point::ticket_drawn);
  late.begin_acquire(forever);
  late.await_stop();
  queue(second);  // and has the lower place until then
  late.stop_at(point::woken);
  late.go_on();
  late.await_stop();  // in the wait queue
  const auto released = steady_now();
  ASSERT_EQ(holder.release(), std::error_code());
  const outcome o = second.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_GE(o.ended - released, 20ms) << "it went first as if there were nobody";
  late.go_on();
  EXPECT_EQ(second.release(), std::error_code());
  EXPECT_TRUE(late.end_acquire());
}

constexpr instant time_to_answer = milliseconds(3);  // line.hpp, L5

/// The second waiter has taken the lock past a stopped first waiter, and is about to mark that one
/// as dozing.
class ScheduleOfPassingOver : public LockTest {
 public:
  explicit ScheduleOfPassingOver(point where = point::line_overtaken) {
    EXPECT_TRUE(holder.acquire(0ns));
    queue(head);
    queue(second);
    head.stop();
    second.stop_at(where);
    EXPECT_EQ(holder.release(), std::error_code());
    second.await_stop();
  }

  lock_process holder{name()};
  lock_process head{name()};
  staged_process second{name()};
};

TEST_F(ScheduleOfPassingOver, DoesNotLoseAHeadThatGoesOnJustThen) {
  head.go_on();
  std::this_thread::sleep_for(10ms);
  second.go_on();
  ASSERT_TRUE(second.end_acquire());
  EXPECT_EQ(second.release(), std::error_code());
  EXPECT_TRUE(head.end_acquire());
}

TEST_F(ScheduleOfPassingOver, WakesTheHead) {  // P7: nobody else would
  const mapped_lockfile file(name());
  const file::slot& of_head = file.slot_of(head.pid());
  const auto woken = of_head.wake.load();
  second.go_on();
  ASSERT_TRUE(second.end_acquire());
  EXPECT_GT(of_head.wake.load(), woken);
}

/// The second waiter finds its turn come, since the first waiter is stopped, and is about to call
/// it.
class ScheduleOfCalling : public ScheduleOfPassingOver {
 public:
  ScheduleOfCalling() : ScheduleOfPassingOver(point::turn_come) {}
};

TEST_F(ScheduleOfCalling, GivesTheHeadItsTimeThoughTheCallerStoodStillBefore) {  // P7
  std::this_thread::sleep_for(5ms);  // its look is older than the time to answer
  const mapped_lockfile file(name());
  const file::slot& of_head = file.slot_of(head.pid());
  const instant called_after = now();
  second.go_on();
  ASSERT_TRUE(second.end_acquire());
  EXPECT_GE(now() - called_after, time_to_answer);
  EXPECT_NE(of_head.ticket.load() & file::dozing, 0U) << "so it was not passed over";
  EXPECT_EQ(second.release(), std::error_code());
  head.go_on();
  EXPECT_TRUE(head.end_acquire());
}

/// A wait queue whose first two waiters do not take the lock when it opens. The third sleeps and
/// has 29 ms until its next look. The last one looks when it is woken.
class ScheduleOfASleeper : public LockTest {
 public:
  ScheduleOfASleeper() {
    EXPECT_TRUE(holder.acquire(0ns));
    for (lock_process* p : {&first, &second, &sleeper, &last}) queue(*p);
  }

  void wake(const lock_process& p) { file::line::wake(file.slot_of(p.pid())); }
  void put_to_sleep() {
    const file::slot& s = file.slot_of(sleeper.pid());
    const auto has_just_begun = [&] {
      if (s.next_look > now() + milliseconds(26)) return true;
      wake(sleeper);
      return false;
    };
    if (!eventually(has_just_begun)) throw std::runtime_error("it does not go to sleep");
  }
  /// Or at least that it was called, and did not run for all the time that it had to answer
  /// (line.hpp, L5), which happens on a busy machine.
  void expect_that_the_sleeper_is_served_first() {
    const file::slot& s = file.slot_of(sleeper.pid());
    instant called_at = 0;
    instant looked = now();
    instant longest_gap = 0;
    ASSERT_TRUE(eventually([&] {
      if (const instant l = s.next_look.load(); (l & file::called) != 0)
        called_at = l & ~file::called;
      longest_gap = std::max(longest_gap, now() - std::exchange(looked, now()));
      const auto h = look().holder;
      return h && (h->who.pid == sleeper.pid() || h->who.pid == last.pid());
    }));
    const std::vector<outcome> served = serve({&sleeper, &last});
    if (served.front().granted.place == 2U) return;  // the last one knew three before it
    if (called_at == 0 && longest_gap >= time_to_answer / 2) GTEST_SKIP() << "nor did we run";
    ASSERT_NE(called_at, 0U) << "it was passed and not called";
    EXPECT_GE(served.front().ended, std::chrono::nanoseconds(called_at + time_to_answer));
    GTEST_SKIP() << "it was called, and did not run";
  }

  lock_process holder{name()};
  lock_process first{name()};
  lock_process second{name()};
  lock_process sleeper{name()};
  lock_process last{name()};
  const mapped_lockfile file{name()};
};

TEST_F(ScheduleOfASleeper, IsNotPassedByOneThatFindsTheDeadBeforeThem) {  // P7
  first.stop();
  second.kill();
  put_to_sleep();
  ASSERT_EQ(holder.release(), std::error_code());
  std::this_thread::sleep_for(25ms);
  first.kill();
  wake(last);
  expect_that_the_sleeper_is_served_first();
}

TEST_F(ScheduleOfASleeper, IsNotPassedByOneThatSawTheHoldersDeathBeforeIt) {  // P7
  first.stop();
  second.stop();
  put_to_sleep();
  holder.kill();
  wake(last);
  expect_that_the_sleeper_is_served_first();
}

TEST_F(ScheduleOfALine, OneThatIsStoppedAsItGivesUpDoesNotBlockTheRest) {  // P6
  lock_process holder(name());
  staged_process head(name());
  lock_process second(name());
  ASSERT_TRUE(holder.acquire(0ns));
  head.stop_at(point::line_left);
  queue(head, 50ms);
  queue(second);
  head.await_stop();  // it has given up, and left
  ASSERT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(second.end_acquire());
  head.go_on();
  EXPECT_EQ(head.end_acquire().error, errc::timed_out);
  EXPECT_TRUE(second.is_held());
}

// --- the path ---------------------------------------------------------------------------------

using ScheduleOfThePath = LockTest;

TEST_F(ScheduleOfThePath, AHolderThatWasStoppedAfterItLookedThereLooksAgain) {  // TORTURE 9
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  staged_process slow(name());
  slow.stop_at(point::path_checked);
  slow.begin_acquire(forever);
  slow.await_stop();
  ASSERT_EQ(holder.release(), std::error_code());
  fs::remove(name());
  lock_process successor(name());
  ASSERT_TRUE(successor.acquire(0ns));
  std::this_thread::sleep_for(20ms);  // two ticks of the slowest coarse clock
  slow.go_on();
  if (slow.end_acquire()) {
    EXPECT_FALSE(slow.is_held());
  }
}

// --- the file -------------------------------------------------------------------------------

using ScheduleOfOpening = LockTest;

TEST_F(ScheduleOfOpening, AFileThatIsRemovedWhileASlotIsClaimedIsLeft) {  // F2, P1, TORTURE 8
  for (const point p : {point::slot_reserved, point::lifeline_held}) {
    // It moves to the path's next file, and takes the lock there without another look.
    staged_process slow(name());
    lockbyfile::remove(name());
    { const named_lock made(name()); }
    slow.stop_at(p);
    slow.begin_acquire(0ns);
    slow.await_stop();
    fs::remove(name());  // and leave no tombstone behind
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    slow.go_on();
    EXPECT_EQ(slow.end_acquire().error, errc::timed_out) << "two locks of one name";
  }
}

TEST_F(ScheduleOfOpening, ASlotWhoseOwnerDiesAsItIsClaimedDoesNotKeepItsLock) {  // F1, P5
  lock_process dying(name());
  staged_process slow(lock_process::not_yet_open, name());
  {
    const mapped_lockfile lockfile(name());
    lockfile->header.slot_hint.store(0);  // to be asked for first, and it is taken
  }
  slow.stop_at(point::slot_chosen);
  slow.begin_open();
  slow.await_stop();
  ASSERT_TRUE(dying.acquire(0ns));
  dying.kill();
  slow.go_on();
  slow.end_open();
  lock_process waiter(name());
  const outcome taken = waiter.acquire(10s);
  ASSERT_TRUE(taken) << "the claimant's lifeline makes the dead one look alive";
  EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
}

TEST_F(ScheduleOfOpening, ASlotThatIsBeingClaimedIsNobodyElses) {
  { const named_lock made(name()); }
  staged_process slow(lock_process::not_yet_open, name());
  slow.stop_at(point::slot_reserved);
  slow.begin_open();
  slow.await_stop();
  lock_process fast(name());
  ASSERT_TRUE(fast.acquire(0ns));
  slow.go_on();
  slow.end_open();
  EXPECT_EQ(slow.acquire(0ns).error, errc::timed_out);
}

TEST_F(ScheduleOfOpening, OfTwoCreatorsOneWins) {  // TORTURE 15
  staged_process slow(lock_process::not_yet_open, name());
  slow.stop_at(point::file_made);
  slow.begin_open();
  slow.await_stop();
  lock_process fast(name());
  ASSERT_TRUE(fast.acquire(0ns));
  slow.go_on();
  slow.end_open();
  EXPECT_EQ(slow.acquire(0ns).error, errc::timed_out);
}

TEST_F(ScheduleOfOpening, ACreatorThatIsOvertakenDoesNotSetTheCounterBack) {  // P2
  staged_process slow(lock_process::not_yet_open, name());
  lock_process fast(lock_process::not_yet_open, name());
  slow.stop_at(point::file_linked);
  slow.begin_open();
  slow.await_stop();
  fast.open();
  const outcome first = fast.acquire(0ns);
  ASSERT_TRUE(first);
  slow.go_on();
  slow.end_open();
  EXPECT_EQ(slow.acquire(0ns).error, errc::timed_out);
  ASSERT_EQ(fast.release(), std::error_code());
  EXPECT_GT(slow.acquire(0ns).granted.token, first.granted.token);
}

TEST_F(ScheduleOfOpening, OneThatIsStoppedAtItKeepsOthersOutAndThenGoesOn) {
  staged_process slow(lock_process::not_yet_open, name());
  slow.stop_at(point::revival_decided);
  slow.begin_open();
  slow.await_stop();  // under the maintenance lock, which it keeps
  std::error_code ec;
  EXPECT_FALSE(named_lock::open(name(), {}, ec));
  EXPECT_EQ(ec, errc::stuck) << ec.message();
  slow.go_on();
  slow.end_open();
  EXPECT_TRUE(slow.acquire(0ns));
}

TEST_F(ScheduleOfOpening, ASessionCanBeOpenedWhileAnotherMakesRoom) {
  std::vector<named_lock> crowd;
  for (std::uint32_t i = 0; i < file::first_capacity; ++i) crowd.emplace_back(name());
  staged_process slow(lock_process::not_yet_open, name());
  slow.stop_at(point::room_allocated);
  slow.begin_open();
  slow.await_stop();
  EXPECT_TRUE(crowd.front().try_lock());
  crowd.pop_back();  // a slot is free, for which no room need be made
  const named_lock another(name());
  slow.go_on();
  slow.end_open();
  EXPECT_EQ(slow.acquire(0ns).error, errc::timed_out);
}

using ScheduleOfRemoval = LockTest;

TEST_F(ScheduleOfRemoval, StoppedHalfWayKeepsOpenersOutAndThenLetsThemIn) {
  lock_process idle(name());
  staged_process remover(name());
  remover.stop_at(point::word_entombed);
  remover.begin_remove();
  remover.await_stop();
  const outcome o = idle.acquire(0ns);
  EXPECT_EQ(o.error, errc::stuck) << "neither the old file nor a new one: P1";
  remover.go_on();
  EXPECT_EQ(remover.end_deed(), std::error_code());
  EXPECT_TRUE(idle.acquire(0ns)) << "in the new file";
  EXPECT_TRUE(fs::exists(name()));
}

TEST_F(ScheduleOfRemoval, WaitersMoveOnThoughNobodyTellsThem) {  // killed before it wakes them
  lock_process holder(name());
  lock_process waiter(name());
  staged_process remover(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  holder.kill();
  remover.kill_at(point::file_unlinked);
  remover.begin_remove();
  try {
    // Either the waiter was faster, and the lock is in use, or the remover dies.
    EXPECT_EQ(remover.end_deed(), errc::in_use);
  } catch (const gone&) {
    EXPECT_TRUE(remover.was_struck());
  }
  EXPECT_TRUE(waiter.end_acquire());
  EXPECT_TRUE(waiter.is_held());
}

}  // namespace
}  // namespace lockbyfile
