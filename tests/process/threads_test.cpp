// SPDX-License-Identifier: Apache-2.0
//
// One process: many objects of one name, and many threads on one object.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

// TORTURE 40, P1

using Threads = LockTest;

/// Of a try without patience. The second, if the lock is just being released.
bool is_refusal(const std::error_code& ec) {
  return ec == errc::would_deadlock || ec == errc::timed_out;
}

TEST_F(Threads, WithAnObjectEachExcludeEachOther) {
  constexpr unsigned threads = 8;
  constexpr unsigned rounds = 200;
  std::atomic<unsigned> overlaps{0};
  std::atomic<unsigned> inside{0};
  std::atomic<unsigned> counter{0};
  {
    std::deque<std::jthread> all;
    for (unsigned i = 0; i < threads; ++i) {
      all.emplace_back([&] {
        named_lock lock(name());
        for (unsigned r = 0; r < rounds; ++r) {
          lock.lock();
          if (inside.fetch_add(1, std::memory_order_relaxed) != 0) ++overlaps;
          const unsigned seen = counter.load(std::memory_order_relaxed);
          if (r % 16 == 0) std::this_thread::yield();
          counter.store(seen + 1, std::memory_order_relaxed);
          inside.fetch_sub(1, std::memory_order_relaxed);
          lock.unlock();
        }
      });
    }
  }
  EXPECT_EQ(overlaps, 0U);
  EXPECT_EQ(counter, threads * rounds);
}

TEST_F(Threads, ManyObjectsOfOneThreadExcludeEachOther) {
  std::vector<named_lock> objects;
  objects.reserve(30);
  for (int i = 0; i < 30; ++i) objects.emplace_back(name());
  for (named_lock& holder : objects) {
    ASSERT_TRUE(holder.try_lock());
    for (named_lock& other : objects) {
      if (&other == &holder) continue;
      EXPECT_FALSE(other.try_lock());
      EXPECT_FALSE(other.is_held());
    }
    EXPECT_TRUE(holder.is_held());
    holder.unlock();
  }
}

TEST_F(Threads, ASecondOneThatAcquiresWithAnObjectThatWaitsHasItsTurnAfterIt) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  named_lock lock(name());
  std::thread waiting([&] { (void)lock.acquire(forever); });
  wait_for_line_of(1);
  std::error_code ec;
  EXPECT_FALSE(lock.acquire(0ns, {}, ec));
  EXPECT_EQ(ec, errc::timed_out);
  EXPECT_FALSE(lock.acquire(20ms, {}, ec));
  EXPECT_EQ(ec, errc::timed_out);
  EXPECT_GE(last_failure().waited, 20ms);
  EXPECT_EQ(look().waiters.size(), 1U) << "an object has one place in line";
  ASSERT_EQ(holder.release(), std::error_code());
  waiting.join();
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(Threads, OfOneObjectWaitForEachOtherAsOnAMutex) {
  constexpr int threads = 6;
  constexpr int rounds = 300;
  named_lock lock(name());
  int counter = 0;
  {
    std::deque<std::jthread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&] {
        for (int r = 0; r < rounds; ++r) {
          const std::scoped_lock guard(lock);
          const int seen = counter;
          if (r % 16 == 0) std::this_thread::yield();
          counter = seen + 1;
        }
      });
    }
  }
  EXPECT_EQ(counter, threads * rounds);
}

TEST_F(Threads, ASecondOneWaitsUntilTheFirstReleasesAndNotLonger) {
  named_lock lock(name());
  (void)lock.acquire();
  std::atomic<bool> begins{false};
  fencing_token second;
  std::chrono::nanoseconds waited{};
  std::jthread other([&] {
    begins = true;
    const grant g = lock.acquire(1min);
    second = g.token;
    waited = g.waited;
    lock.unlock();
  });
  while (!begins) std::this_thread::yield();
  std::this_thread::sleep_for(20ms);  // it waits by now, if it is to wait at all
  const fencing_token first = lock.token();
  lock.unlock();
  other.join();
  EXPECT_GT(second, first);
  EXPECT_LT(waited, 1min);
}

TEST_F(Threads, ASecondOneIsServedWhenTheFirstOnesLeaseEnds) {
  named_lock lock(name(), {.lease = 50ms});
  (void)lock.acquire();
  std::jthread([&] { EXPECT_EQ(lock.acquire(1min).how, grant_kind::expired); }).join();
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, errc::lease_lost) << "it is the other's grant that would be released";
  EXPECT_TRUE(lock.owns_lock()) << "an old holder hurt its successor";
  lock.renew(ec);
  EXPECT_EQ(ec, std::error_code()) << "it has given back, so it speaks of the object's grant";
}

TEST_F(Threads, ASecondOneIsServedWhenTheFirstOnesGrantIsBroken) {
  named_lock lock(name());
  (void)lock.acquire();
  std::jthread other([&] { EXPECT_EQ(lock.acquire(1min).how, grant_kind::broken); });
  break_lock(name(), {});
  other.join();
}

TEST_F(Threads, DeadlockIsToldOnlyToTheOneThatAcquired) {
  named_lock lock(name());
  (void)lock.acquire();
  std::jthread([&] {
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock_for(1ms));
    std::error_code ec;
    EXPECT_FALSE(lock.acquire(1ms, {}, ec));
    EXPECT_EQ(ec, errc::timed_out);
    EXPECT_EQ(last_failure().holder.value().pid, static_cast<unsigned>(::getpid()));
    EXPECT_TRUE(lock.owns_lock());
    lock.renew(ec);
    EXPECT_EQ(ec, std::error_code());
  }).join();
  std::error_code ec;
  EXPECT_FALSE(lock.acquire(forever, {}, ec));
  EXPECT_EQ(ec, errc::would_deadlock);
  lock.unlock();
  std::jthread([&] { (void)lock.acquire(); }).join();
  EXPECT_FALSE(lock.try_lock()) << "it is that thread's now";
}

TEST_F(Threads, ASecondOnesWaitEndsWithItsStopRequest) {
  named_lock lock(name());
  (void)lock.acquire();
  std::error_code ec;
  std::jthread other([&](const std::stop_token& stop) { (void)lock.acquire(forever, stop, ec); });
  other.request_stop();
  other.join();
  EXPECT_EQ(ec, errc::cancelled);
}

TEST_F(Threads, OfAChildAreNotHeldUpByTurnsThatAParentsThreadHad) {  // P9
  named_lock lock(name());
  (void)lock.acquire();
  std::jthread waits([&] { (void)lock.acquire(1min); });
  std::this_thread::sleep_for(5ms);
  child c([&](talk&) {
    std::error_code ec;
    if (lock.acquire(10ms, {}, ec) || ec != errc::timed_out) ::_exit(1);
  });
  EXPECT_EQ(c.wait(), 0);
  lock.unlock();
}

TEST_F(Threads, KeepAliveOfOneAndAcquireOfAnotherDoNotMeet) {
  named_lock lock(name(), {.lease = 600ms});
  for (int i = 0; i < 5; ++i) {
    (void)lock.acquire();
    const keep_alive keeper(lock);
    std::jthread other([&] {
      (void)lock.acquire();
      lock.unlock();
    });
    std::this_thread::sleep_for(210ms);  // a third of the lease: one renewal
    EXPECT_TRUE(lock.is_held());
    lock.unlock();
  }
}

TEST_F(Threads, ThatAcquireWithOneObjectAtOnceAreRefusedOrServedButNeverBoth) {
  named_lock lock(name());
  std::atomic<unsigned> inside{0};
  std::atomic<unsigned> overlaps{0};
  std::atomic<unsigned> served{0};
  {
    std::deque<std::jthread> all;
    for (int i = 0; i < 4; ++i) {
      all.emplace_back([&] {
        for (int r = 0; r < 500; ++r) {
          std::error_code ec;
          if (!lock.acquire(0ns, {}, ec)) {
            EXPECT_TRUE(is_refusal(ec)) << ec.message();
            continue;
          }
          if (inside.fetch_add(1) != 0) ++overlaps;
          ++served;
          --inside;
          lock.unlock();
        }
      });
    }
  }
  EXPECT_EQ(overlaps, 0U);
  EXPECT_GT(served, 0U);
}

TEST_F(Threads, MayLookAtAnObjectThatAnotherOneUses) {
  named_lock lock(name(), {.lease = 1h});
  std::jthread looking([&](const std::stop_token& over) {
    fencing_token last;
    while (!over.stop_requested()) {
      (void)lock.is_held();
      EXPECT_LE(lock.lease_remaining(), 1h);
      const fencing_token seen = lock.token();
      EXPECT_GE(seen, last);
      last = seen;
    }
  });
  for (int i = 0; i < 2000; ++i) {
    (void)lock.acquire(0ns);
    if (i % 3 == 0) lock.renew();
    lock.unlock();
  }
}

TEST_F(Threads, OfAChildThatUseOneInheritedObjectAtOnceAreRefusedOrServed) {  // P9
  named_lock lock(name());
  for (int i = 0; i < 50; ++i) {
    child c([&](talk&) {
      std::atomic<unsigned> inside{0};
      std::atomic<bool> go{false};
      std::deque<std::jthread> all;
      for (int t = 0; t < 4; ++t) {
        all.emplace_back([&] {
          while (!go) {
          }
          std::error_code ec;
          if (lock.acquire(0ns, {}, ec)) {
            if (inside.fetch_add(1) != 0) ::_exit(1);
            --inside;
            lock.unlock();
          } else if (!is_refusal(ec)) {
            std::fprintf(stderr, "%s\n", ec.message().c_str());
            ::_exit(2);
          }
        });
      }
      go = true;
    });
    ASSERT_EQ(c.wait(), 0) << "in child " << i;
  }
}

// TORTURE 41

using SelfDeadlock = LockTest;

TEST_F(SelfDeadlock, IsRefusedAtOnceWhateverThePatience) {
  named_lock lock(name());
  const grant granted = lock.acquire(0ns);
  std::error_code ec;
  for (const std::chrono::nanoseconds patience : {std::chrono::nanoseconds(0), forever}) {
    EXPECT_FALSE(lock.acquire(patience, {}, ec));
    EXPECT_EQ(ec, errc::would_deadlock);
  }
  EXPECT_THROW(lock.lock(), lock_error);
  EXPECT_THROW((void)lock.try_lock(), lock_error);
  EXPECT_THROW((void)lock.try_lock_for(1h), lock_error);
  EXPECT_TRUE(lock.is_held());
  EXPECT_EQ(lock.token(), granted.token);
  lock.release(ec);
  EXPECT_EQ(ec, std::error_code()) << "the grant was spoiled";
}

TEST_F(SelfDeadlock, WithAnotherObjectOfTheNameLastsAsLongAsPatience) {
  named_lock lock(name());
  named_lock other(name());
  (void)lock.acquire(0ns);
  std::error_code ec;
  EXPECT_FALSE(other.acquire(10ms, {}, ec));
  EXPECT_EQ(ec, errc::timed_out);
}

TEST_F(SelfDeadlock, IsNotSeenInAGrantThatIsOver) {
  named_lock lock(name(), {.lease = 1ns});
  const fencing_token first = lock.acquire(0ns).token;
  const grant again = lock.acquire(0ns);
  EXPECT_GT(again.token, first);
  EXPECT_EQ(again.how, grant_kind::expired);
}

}  // namespace
}  // namespace lockbyfile
