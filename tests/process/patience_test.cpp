// SPDX-License-Identifier: Apache-2.0
//
// How a wait ends: by a grant, by the end of patience, by a stop request.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>

#include "linux/system_calls.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

class Patience : public LockTest {
 protected:
  Patience() { EXPECT_TRUE(holder_.acquire(0ns)); }

  lock_process holder_{name()};
  std::stop_source stop_;
};

/// Makes this process hear a signal every 200 us, which ends every sleep of the kernel.
void raise_a_storm() {
  struct sigaction ignoring {};
  ignoring.sa_handler = [](int) {};  // and no SA_RESTART
  ::sigaction(SIGALRM, &ignoring, nullptr);
  const struct itimerval often {
    {0, 200}, { 0, 200 }
  };
  ::setitimer(ITIMER_REAL, &often, nullptr);
}

// P8, TORTURE 32

TEST_F(Patience, NeverEndsEarly) {
  lock_process waiter(name());
  for (const nanoseconds patience :
       {nanoseconds(1ns), nanoseconds(1us), nanoseconds(999us), nanoseconds(1ms), nanoseconds(4ms),
        nanoseconds(7ms), nanoseconds(50ms), nanoseconds(101ms)}) {
    const outcome o = waiter.acquire(patience);
    EXPECT_EQ(o.error, errc::timed_out);
    EXPECT_GE(o.ended - o.begun, patience);
  }
}

TEST_F(Patience, NeverEndsEarlyInASignalStorm) {
  lock_process waiter(name(), {}, raise_a_storm);
  const outcome o = waiter.acquire(100ms);
  EXPECT_EQ(o.error, errc::timed_out) << "a signal ended the wait";
  EXPECT_GE(o.ended - o.begun, 100ms);
}

TEST_F(Patience, ASignalStormDoesNotCostTheGrant) {
  lock_process waiter(name(), {}, raise_a_storm);
  queue(waiter);
  ASSERT_EQ(holder_.release(), std::error_code());
  EXPECT_TRUE(waiter.end_acquire());
}

TEST_F(Patience, ThatRanOutLeavesTheLineAtOnce) {
  named_lock lock(name());
  std::error_code ec;
  EXPECT_FALSE(lock.acquire(2ms, {}, ec));
  EXPECT_EQ(ec, errc::timed_out);
  EXPECT_EQ(ec, std::errc::timed_out);
  EXPECT_TRUE(look().waiters.empty());
  EXPECT_FALSE(lock.is_held());
  ASSERT_EQ(holder_.release(), std::error_code());
  EXPECT_TRUE(lock.acquire(0ns).token);
}

TEST_F(Patience, ThatRunsOutPassesOnAWakeUpThatItSwallowed) {
  // The first waiter gives up without a look at the lock, just when it is woken.
  lock_process next(name());
  named_lock lock(name());
  for (int round = 0; round < 20; ++round) {
    std::stop_source stop;
    std::error_code ec;
    std::thread waiting([&] {
      if (lock.acquire(forever, stop.get_token(), ec)) lock.unlock();
    });
    wait_for_line_of(1);
    queue(next);
    std::thread stopping([&] { stop.request_stop(); });
    ASSERT_EQ(holder_.release(), std::error_code());
    stopping.join();
    waiting.join();
    ASSERT_TRUE(next.end_acquire()) << "in round " << round;
    ASSERT_EQ(next.release(), std::error_code());
    ASSERT_TRUE(holder_.acquire(forever));
  }
}

// What happens during a sleep, at exactly that instant: the hook runs in its place.

std::function<void()> during_sleep;

int sleep_with_events(const std::uint32_t*, std::uint32_t, const struct timespec*) {
  during_sleep();
  errno = ETIMEDOUT;
  return -1;
}

class ArrivingTogether : public Patience {
 public:
  ~ArrivingTogether() override { sys = real_; }

 protected:
  std::optional<grant> acquire(nanoseconds patience, const std::stop_token& stop,
                               std::function<void()> events) {
    during_sleep = [this, events = std::move(events)] {
      sys = real_;
      events();
    };
    sys.futex_wait = sleep_with_events;
    std::error_code ec;
    return lock_.acquire(patience, stop, ec);
  }

  static void outlast_patience() { shifted_clocks::steady() += nanoseconds(2min).count(); }

  named_lock lock_{name()};

 private:
  const shifted_clocks clocks_;
  const system_calls real_ = sys;
};

TEST_F(ArrivingTogether, GrantAndDeadlineGiveTheGrant) {
  EXPECT_TRUE(acquire(1min, {}, [&] {
    outlast_patience();
    EXPECT_EQ(holder_.release(), std::error_code());
  }));
}

TEST_F(ArrivingTogether, DeathOfTheHolderAndDeadlineGiveTheGrant) {
  const auto granted = acquire(1min, {}, [&] {
    holder_.kill();
    outlast_patience();
  });
  ASSERT_TRUE(granted);
  EXPECT_EQ(granted->how, grant_kind::abandoned);
}

TEST_F(ArrivingTogether, GrantAndStopRequestGiveTheGrant) {
  EXPECT_TRUE(acquire(forever, stop_.get_token(), [&] {
    stop_.request_stop();
    EXPECT_EQ(holder_.release(), std::error_code());
  }));
}

TEST_F(ArrivingTogether, DeadlineAndStopRequestGiveNothing) {
  EXPECT_FALSE(acquire(1min, stop_.get_token(), [&] {
    outlast_patience();
    stop_.request_stop();
  }));
  EXPECT_TRUE(look().waiters.empty());
}

// The stop token. TORTURE 49, 50

using StopRequest = Patience;

TEST_F(StopRequest, EndsTheWaitAndLeavesTheLine) {
  named_lock lock(name());
  for (int round = 0; round < 20; ++round) {
    std::stop_source stop;
    std::error_code ec;
    std::thread waiting([&] { EXPECT_FALSE(lock.acquire(forever, stop.get_token(), ec)); });
    wait_for_line_of(1);
    stop.request_stop();
    waiting.join();
    EXPECT_EQ(ec, errc::cancelled);
    EXPECT_EQ(ec, std::errc::operation_canceled);
    EXPECT_TRUE(look().waiters.empty());
  }
  EXPECT_FALSE(lock.is_held());
  ASSERT_EQ(holder_.release(), std::error_code());
  lock_process other(name());
  EXPECT_TRUE(other.acquire(0ns)) << "a cancelled acquire holds something";
}

TEST_F(StopRequest, ThatComesAtAnyInstantIsNotMissed) {
  named_lock lock(name());
  for (int round = 0; round < 300; ++round) {
    std::stop_source stop;
    std::error_code ec;
    std::thread stopping([&] {
      for (int i = 0; i < round % 50; ++i) std::this_thread::yield();
      stop.request_stop();
    });
    EXPECT_FALSE(lock.acquire(forever, stop.get_token(), ec));
    EXPECT_EQ(ec, errc::cancelled);
    stopping.join();
  }
  EXPECT_TRUE(look().waiters.empty());
}

TEST_F(StopRequest, ThatWasMadeBeforeStillTriesOnce) {
  stop_.request_stop();
  named_lock lock(name());
  std::error_code ec;
  EXPECT_FALSE(lock.acquire(forever, stop_.get_token(), ec));
  EXPECT_EQ(ec, errc::cancelled);
  ASSERT_EQ(holder_.release(), std::error_code());
  EXPECT_TRUE(lock.acquire(forever, stop_.get_token(), ec));
}

TEST_F(StopRequest, IsThrownByTheThrowingOverload) {
  stop_.request_stop();
  named_lock lock(name());
  try {
    (void)lock.acquire(forever, stop_.get_token());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const lock_error& e) {
    EXPECT_EQ(e.code(), errc::cancelled);
    EXPECT_EQ(e.path(), name());
  }
}

// The question whether to give up, for interpreters.

class GivingUp : public Patience {
 protected:
  std::error_code acquire(std::function<bool()> gives_up) {
    named_lock lock(name(), {.gives_up = std::move(gives_up)});
    std::error_code ec;
    EXPECT_FALSE(lock.acquire(10s, {}, ec));
    EXPECT_TRUE(look().waiters.empty());
    return ec;
  }
};

TEST_F(GivingUp, IsAskedForAfterASignal) {
  raise_a_storm();
  int asked = 0;
  const auto start = steady_now();
  EXPECT_EQ(acquire([&] { return ++asked == 20; }), errc::cancelled);
  EXPECT_LT(steady_now() - start, 1s) << "only every 100 ms";
  const struct itimerval never_again {};
  ::setitimer(ITIMER_REAL, &never_again, nullptr);
}

TEST_F(GivingUp, IsAskedForWithoutASignalToo) {
  int asked = 0;
  EXPECT_EQ(acquire([&] { return ++asked == 2; }), errc::cancelled);
  EXPECT_EQ(asked, 2);
}

TEST_F(GivingUp, TakesTheGrantThatComesTogetherWithIt) {
  named_lock lock(name(), {.gives_up = [&] {
                    EXPECT_EQ(holder_.release(), std::error_code());
                    return true;
                  }});
  std::error_code ec;
  EXPECT_TRUE(lock.acquire(forever, {}, ec));
}

}  // namespace
}  // namespace lockbyfile
