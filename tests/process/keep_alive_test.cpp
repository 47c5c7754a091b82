// SPDX-License-Identifier: Apache-2.0
//
// keep_alive: renews, reports a loss once, and stops. Real leases run here.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class KeepAlive : public LockTest {
 protected:
  /// Counts the reports, and remembers the last one.
  auto teller() {
    return [this](std::error_code ec) {
      last_ = ec.value();
      ++told_;
    };
  }
  [[nodiscard]] bool is_told_within_a_minute() {
    return eventually([&] { return told_ > 0; });
  }
  [[nodiscard]] std::uint64_t word() const { return mapped_lockfile(name()).word().bits(); }
  /// Waits for `count` renewals of the grant: each changes the word.
  void wait_for_renewals(int count) const {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t before = word();
      ASSERT_TRUE(eventually([&] { return word() != before; }));
    }
  }

  std::atomic<int> told_{0};
  std::atomic<int> last_{0};
};

using KeepAliveTiming = KeepAlive;

TEST_F(KeepAliveTiming, KeepsAGrantFarBeyondItsLease) {
  named_lock lock(name(), {.lease = 150ms});
  const grant granted = lock.acquire(0ns);
  const keep_alive keeper(lock, teller());
  lock_process waiter(name());
  EXPECT_EQ(waiter.acquire(500ms).error, errc::timed_out);
  EXPECT_TRUE(lock.is_held());
  EXPECT_EQ(lock.token(), granted.token);
  EXPECT_EQ(told_, 0);
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, std::error_code());
}

TEST_F(KeepAlive, LetsTheLeaseRunOutOnceStopped) {
  named_lock lock(name(), {.lease = 100ms});
  (void)lock.acquire(0ns);
  keep_alive keeper(lock, teller());
  wait_for_renewals(3);
  keeper.stop();
  keeper.stop();  // harmless twice
  lock_process waiter(name());
  EXPECT_EQ(waiter.acquire(forever).granted.how, grant_kind::expired);
  EXPECT_EQ(told_, 0) << "a stopped one has nothing to tell";
}

TEST_F(KeepAlive, LetsTheLeaseRunOutIfItsProcessHangs) {
  child holder([this](talk& t) {
    named_lock lock(name(), {.lease = 100ms});
    (void)lock.acquire(0ns);
    std::atomic<bool> lost{false};
    const keep_alive keeper(lock, [&](std::error_code) { lost = true; });
    t.say("held");
    t.expect("well?");
    t.say(eventually([&] { return lost.load(); }) ? "lost" : "nothing");
  });
  holder.expect("held");
  holder.stop();
  lock_process waiter(name());
  EXPECT_EQ(waiter.acquire(forever).granted.how, grant_kind::expired);
  holder.go_on();
  holder.say("well?");
  holder.expect("lost");
}

TEST_F(KeepAlive, TellsABreakOnce) {
  for (const auto lease : {std::chrono::nanoseconds(150ms), no_lease}) {
    told_ = 0;
    named_lock lock(name(), {.lease = lease});
    (void)lock.acquire(forever);
    const keep_alive keeper(lock, teller());
    break_lock(name(), lock.token());
    EXPECT_TRUE(is_told_within_a_minute());
    EXPECT_EQ(last_, static_cast<int>(errc::lease_lost));
    std::this_thread::sleep_for(250ms);  // time enough to report it again
    EXPECT_EQ(told_, 1);
    EXPECT_FALSE(lock.is_held());
  }
}

TEST_F(KeepAlive, TellsThatTheLockfileIsGoneOrMovedOrReplaced) {  // TORTURE 9, 10
  const auto tells = [&](auto deed) {
    told_ = 0;
    named_lock lock(name(), {.lease = 100ms});
    (void)lock.acquire(forever);
    const keep_alive keeper(lock, teller());
    deed();
    EXPECT_TRUE(is_told_within_a_minute());
    EXPECT_EQ(told_, 1);
    EXPECT_EQ(last_, static_cast<int>(errc::lease_lost));
  };
  tells([&] { std::filesystem::remove(name()); });
  tells([&] { std::filesystem::rename(name(), name() + ".aside"); });
  tells([&] {
    const named_lock other(directory() + "/other.lockfile");
    std::filesystem::rename(directory() + "/other.lockfile", name());
  });
}

TEST_F(KeepAlive, TellsATakeover) {
  named_lock lock(name(), {.lease = 150ms});
  (void)lock.acquire(0ns);
  const keep_alive keeper(lock, teller());
  lock_process other(name());
  queue(other);
  const mapped_lockfile file(name());
  auto& slot = file.holder();
  EXPECT_TRUE(eventually([&] {
    slot.lease_deadline.store(1);  // as if it had not renewed in time
    return look().holder->who.pid == other.pid();
  }));
  EXPECT_EQ(other.end_acquire().granted.how, grant_kind::expired);
  EXPECT_TRUE(is_told_within_a_minute());
  EXPECT_EQ(told_, 1);
  EXPECT_TRUE(other.is_held());
}

TEST_F(KeepAlive, EndsSilentlyWhenTheLockIsReleased) {
  named_lock lock(name(), {.lease = 100ms});
  (void)lock.acquire(0ns);
  const keep_alive keeper(lock, teller());
  wait_for_renewals(1);
  lock.unlock();
  lock_process other(name());
  ASSERT_TRUE(other.acquire(forever));
  std::this_thread::sleep_for(80ms);  // past two more renewals
  EXPECT_TRUE(other.is_held());
  EXPECT_EQ(told_, 0);
}

TEST_F(KeepAlive, DoesNotKeepTheNextGrant) {
  named_lock lock(name(), {.lease = 100ms});
  (void)lock.acquire(0ns);
  const keep_alive keeper(lock, teller());
  lock.unlock();
  (void)lock.acquire(0ns);
  lock_process other(name());
  EXPECT_EQ(other.acquire(forever).granted.how, grant_kind::expired);
  EXPECT_EQ(told_, 0) << "it is not its grant that was lost";
}

TEST_F(KeepAlive, GoesOnAfterARefusedAcquire) {
  named_lock lock(name(), {.lease = 300ms});
  (void)lock.acquire(0ns);
  const keep_alive keeper(lock, teller());
  std::error_code ec;
  EXPECT_FALSE(lock.acquire(0ns, {}, ec));
  ASSERT_EQ(ec, errc::would_deadlock);
  const std::uint64_t before = word();
  const auto end = steady_now() + 2s;
  while (word() == before && steady_now() < end) std::this_thread::sleep_for(1ms);
  EXPECT_NE(word(), before) << "it does not renew any more";
}

TEST_F(KeepAlive, IsIndifferentToAMoveOfTheLock) {
  named_lock lock(name(), {.lease = 100ms});
  (void)lock.acquire(0ns);
  const keep_alive keeper(lock, teller());
  named_lock moved(std::move(lock));
  wait_for_renewals(3);
  EXPECT_TRUE(moved.token());
  moved.unlock();
  EXPECT_EQ(told_, 0);
}

TEST_F(KeepAlive, MayOutliveTheLockWhichIsReleasedAllTheSame) {
  std::optional<named_lock> lock(std::in_place, name(), lock_options{.lease = 100ms});
  (void)lock->acquire(0ns);
  const keep_alive keeper(*lock, teller());
  lock.reset();
  lock_process other(name());
  EXPECT_EQ(other.acquire(0ns).granted.how, grant_kind::free);
  EXPECT_EQ(told_, 0);
}

TEST_F(KeepAlive, MayBeDestroyedByWhatItCalls) {
  named_lock lock(name(), {.lease = 150ms});
  (void)lock.acquire(0ns);
  std::unique_ptr<keep_alive> keeper;
  std::atomic<bool> destroyed{false};
  std::mutex making;
  {
    const std::lock_guard guard(making);
    keeper = std::make_unique<keep_alive>(lock, [&](std::error_code) {
      const std::lock_guard made(making);
      keeper.reset();
      destroyed = true;
    });
  }
  break_lock(name(), {});
  EXPECT_TRUE(eventually([&] { return destroyed.load(); }));
}

TEST_F(KeepAlive, OfALockThatHoldsNothingIsRefused) {
  named_lock lock(name());
  try {
    const keep_alive keeper(lock);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const lock_error& e) {
    EXPECT_EQ(e.code(), errc::not_holder);
    EXPECT_EQ(e.path(), name());
  }
}

TEST_F(KeepAlive, MayBeUsedByTheHolderAtTheSameTime) {
  named_lock lock(name());
  for (int round = 0; round < 20; ++round) {
    lock.set_lease(1h);
    (void)lock.acquire(forever);
    lock.set_lease(300us);  // so that it renews every 100 us
    const keep_alive keeper(lock, teller());
    for (int i = 0; i < 50; ++i) {
      std::error_code ec;
      lock.renew(ec);
      EXPECT_EQ(ec, std::error_code());
      (void)lock.is_held();
      (void)lock.lease_remaining();
    }
    lock.unlock();
  }
  EXPECT_EQ(told_, 0);
}

}  // namespace
}  // namespace lockbyfile
