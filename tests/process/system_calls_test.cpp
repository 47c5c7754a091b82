// SPDX-License-Identifier: Apache-2.0
//
// The cost of the fast paths, counted in system calls and not in time:
//   - acquire and release alone: none
//   - a release that wakes: one
//   - a waiter: at most three for each sleep
//   - a waiter that stands by: one
// Reading a clock is no system call.
//
// Besides these, a session that acquires or waits looks at the path once in a tick of the coarse
// clock, with an lstat and an fstat.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <lockbyfile/lockbyfile.hpp>
#include <map>
#include <string>
#include <string_view>

#include "support/child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

/// Counts the calls of this process, by name.
class count_of_calls {
 public:
  [[nodiscard]] int of(const std::string& call) const {
    const auto found = counts_.find(call);
    return found == counts_.end() ? 0 : found->second;
  }
  [[nodiscard]] int all() const {
    int sum = 0;
    for (const auto& [call, count] : counts_) sum += count;
    return sum;
  }
  [[nodiscard]] std::string text() const {
    std::string text;
    for (const auto& [call, count] : counts_) text += call + " " + std::to_string(count) + ' ';
    return text;
  }

 private:
  std::map<std::string, int> counts_;
  seam seam_{[this](std::string_view call) {
    if (call != "clock_gettime") ++counts_[std::string(call)];
    return 0;
  }};
};

class SystemCalls : public LockTest {};

TEST_F(SystemCalls, OfAnUncontendedAcquireAndReleaseAreNone) {
  named_lock lock(name(), {.lease = 10s});
  // In some hundreds of tries one falls within a tick of the coarse clock, from its start on.
  int least = 1000;
  for (int i = 0; i < 1000 && least > 0; ++i) {
    const count_of_calls calls;
    for (int j = 0; j < 100; ++j) {
      lock.lock();
      lock.unlock();
    }
    std::error_code lost;
    (void)lock.acquire(forever);
    lock.release(lost);
    least = std::min(least, calls.all());
  }
  EXPECT_EQ(least, 0);
}

TEST_F(SystemCalls, OfAMillionUncontendedOnesAreALookAtThePathATick) {
  named_lock lock(name(), {.lease = 10s});
  const auto begun = steady_now();
  const count_of_calls calls;
  for (int i = 0; i < 1'000'000; ++i) {
    lock.lock();
    lock.unlock();
  }
  const auto ticks = (steady_now() - begun) / 1ms + 1;  // a tick is a millisecond or longer
  const int looks = calls.of("lstat") + calls.of("fstat");
  EXPECT_LE(looks, 2 * ticks);
  EXPECT_LE(calls.all() - looks, 10) << "tokens ahead of the clock are noted: " << calls.text();
}

TEST_F(SystemCalls, OfATryThatFailsOpenNoFile) {  // nobody asked who holds the lock
  named_lock holder(name());
  holder.lock();
  named_lock lock(name());
  const count_of_calls calls;
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(calls.of("open"), 0) << calls.text();
  EXPECT_EQ(calls.of("mmap"), 0) << calls.text();
}

TEST_F(SystemCalls, OfAReleaseWithAWaiterIsOne) {
  named_lock lock(name(), {.lease = 1h});
  lock_process waiter(name());
  lock.lock();
  queue(waiter);
  {
    const count_of_calls calls;
    lock.unlock();
    EXPECT_EQ(calls.of("futex_wake"), 1);
    EXPECT_LE(calls.all(), 2) << calls.text();
  }
  EXPECT_TRUE(waiter.end_acquire());
}

TEST_F(SystemCalls, OfAReleaseToAHeadThatIsOnItsWayAreNone) {
  named_lock lock(name(), {.lease = 1h});
  lock_process waiter(name());
  lock.lock();
  queue(waiter);
  waiter.stop();
  const mapped_lockfile file(name());
  file.slot_of(waiter.pid()).waiting_since = now();  // or we might not go first
  lock.unlock();                                     // wakes it, in vain
  if (!lock.try_lock()) GTEST_SKIP() << "that took a millisecond";
  {
    const count_of_calls calls;
    lock.unlock();
    EXPECT_EQ(calls.all(), 0) << calls.text();
  }
  waiter.go_on();
  EXPECT_TRUE(waiter.end_acquire());
}

/// Says how often it slept, how many calls it made except the looks at the path, and all its calls
/// as a text.
void lock_and_tell_its_calls(named_lock& lock, talk& t) {
  const count_of_calls calls;
  lock.lock();
  const int looks = calls.of("lstat") + calls.of("fstat");
  t.say(std::to_string(calls.of("futex_wait")));
  t.say(std::to_string(calls.all() - looks));
  t.say(calls.text());
}

TEST_F(SystemCalls, OfAWaiterAreThreePerSleepAtTheMost) {
  named_lock lock(name(), {.lease = 1h});
  lock.lock();
  child waiter([this](talk& t) {
    named_lock mine(name());
    t.hear();
    lock_and_tell_its_calls(mine, t);
  });
  waiter.say("wait");
  wait_for_sleepers(name(), 1);
  lock.unlock();
  const int sleeps = std::stoi(waiter.hear());
  EXPECT_GE(sleeps, 1);
  EXPECT_LE(std::stoi(waiter.hear()), 3 * sleeps) << waiter.hear();
}

TEST_F(SystemCalls, OfAHandoffToOneThatStandsByAreNoneOfTheReleaseAndOneOfTheWait) {
  named_lock lock(name(), {.lease = 1h});
  const mapped_lockfile file(name());
  child waiter([this](talk& t) {
    named_lock mine(name());
    for (;;) {
      t.hear();
      lock_and_tell_its_calls(mine, t);
      mine.unlock();
    }
  });
  for (int tries = 0; tries < 200; ++tries) {
    lock.lock();
    file->header.usual_hold = 10'000;
    file->header.granted_on = 0;  // it may run where it was granted the lock the last time
    waiter.say("wait");
    while (file->header.standing_by == 0 && file.sleepers() == 0) {
    }
    const auto found = steady_now();
    int of_release = 0;
    {
      const count_of_calls calls;
      lock.unlock();
      of_release = calls.all();
    }
    const bool slept = waiter.hear() != "0";
    const std::string of_wait = waiter.hear();
    const std::string text = waiter.hear();
    // It was kept from running for as long as it stands by, or until it looks at the holder again.
    if (slept || steady_now() - found > 4ms) continue;
    EXPECT_EQ(of_release, 0);
    EXPECT_EQ(of_wait, "1") << text;
    return;
  }
  GTEST_SKIP() << "it was never still there at the release";
}

}  // namespace
}  // namespace lockbyfile
