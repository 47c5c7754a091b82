// SPDX-License-Identifier: Apache-2.0
//
// The engine contract (src/core/engine.hpp) as claims, which every engine must pass. An
// engine joins with a world of its own, and a line in `worlds`.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <memory>
#include <stop_token>
#include <system_error>
#include <thread>

#if defined(LOCKBYFILE_OVER_ETCD)
#include "conformance/etcd_world.hpp"
#else
#include "conformance/file_world.hpp"
#include "conformance/memory_world.hpp"
#endif

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

#if defined(LOCKBYFILE_OVER_ETCD)
using worlds = ::testing::Types<etcd_world>;
#else
using worlds = ::testing::Types<file_world, memory_world>;
#endif

template <class World>
class Engine : public ::testing::Test {
 public:
  using process = typename World::process;

  void SetUp() override {
    if constexpr (requires { World::missing(); }) {
      if (const std::string what = World::missing(); !what.empty()) GTEST_SKIP() << what;
    }
  }

  static lock_options briefly() { return {.lease = World::short_lease}; }

  process& join(const lock_options& options = {}) {
    return processes.emplace_back(world.join(options));
  }
  process& holder(const lock_options& options = {}) {
    process& p = join(options);
    EXPECT_TRUE(p.acquire(0ns));
    return p;
  }
  /// Puts it in the wait queue, behind the present waiters.
  process& waiter(std::chrono::nanoseconds patience = forever) { return in_line(join(), patience); }
  process& in_line(process& p, std::chrono::nanoseconds patience = forever) {
    p.begin_acquire(patience);
    world.wait_for_line_of(++line);
    return p;
  }

  World world;
  std::deque<process> processes;
  std::size_t line = 0;
};
TYPED_TEST_SUITE(Engine, worlds);

// --- exclusion and tokens -----------------------------------------------------------------

TYPED_TEST(Engine, GrantsAFreeLockAtOnce) {
  const outcome o = this->join().acquire(0ns);
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::free);
  EXPECT_FALSE(o.granted.previous);
  EXPECT_NE(o.granted.token, fencing_token());
}

TYPED_TEST(Engine, HasOneHolderAtATime) {  // P1
  this->holder();
  EXPECT_EQ(this->join().acquire(0ns).error, errc::timed_out);
}

TYPED_TEST(Engine, GivesEveryGrantALargerToken) {  // P2
  auto& first = this->join(this->briefly());
  fencing_token last;
  const auto grows = [&last](const outcome& o) {
    EXPECT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last);
    last = o.granted.token;
  };
  grows(first.acquire(0ns));
  EXPECT_EQ(first.release(), std::error_code());
  grows(first.acquire(0ns));
  this->world.pass(TestFixture::briefly().lease);
  auto& second = this->join();
  grows(second.acquire(forever));
  second.kill();
  auto& third = this->join();
  grows(third.acquire(forever));
  EXPECT_EQ(this->world.break_lock(), std::error_code());
  grows(this->join().acquire(0ns));
}

TYPED_TEST(Engine, KeepsAGrantWithoutALease) {  // P3
  auto& holder = this->holder();
  this->world.pass(TypeParam::long_time);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(this->join().acquire(0ns).error, errc::timed_out);
  EXPECT_EQ(holder.release(), std::error_code());
}

// --- lease ------------------------------------------------------------------------------------

TYPED_TEST(Engine, EndsAGrantWithItsLeaseAndSaysExpiredAndWhoHadIt) {
  auto& next = this->join();  // a process takes its time to start
  auto& holder = this->holder(this->briefly());
  this->in_line(next);
  this->world.pass(TestFixture::briefly().lease);
  const outcome o = next.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::expired);
  ASSERT_TRUE(o.granted.previous);
  EXPECT_EQ(o.granted.previous->pid, holder.pid());
  EXPECT_FALSE(holder.is_held());
}

TYPED_TEST(Engine, ObeysTheHoldersLeaseAndNotTheWaiters) {  // TORTURE 4
  auto& holder = this->holder();
  auto& other = this->join({.lease = 1ns});
  other.begin_acquire(forever);
  this->world.wait_for_line_of(1);
  this->world.pass(TypeParam::long_time);
  EXPECT_TRUE(other.is_waiting());
  EXPECT_TRUE(holder.is_held());
}

TYPED_TEST(Engine, MovesTheEndOfTheLeaseByRenewal) {
  auto& holder = this->holder(this->briefly());
  holder.set_lease(1h);
  EXPECT_EQ(holder.renew(), std::error_code());
  this->world.pass(TestFixture::briefly().lease * 3 / 2);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(this->join().acquire(0ns).error, errc::timed_out);
  EXPECT_EQ(holder.release(), std::error_code());
}

TYPED_TEST(Engine, LetsAnExpiredGrantBeRenewedIfNobodyTookIt) {
  auto& holder = this->holder(this->briefly());
  this->world.pass(TestFixture::briefly().lease);
  EXPECT_FALSE(holder.is_held());
  holder.set_lease(1h);
  EXPECT_EQ(holder.renew(), std::error_code());
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(this->join().acquire(0ns).error, errc::timed_out);
}

TYPED_TEST(Engine, TellsAHolderThatItReleasesTooLateAndOpensTheLock) {
  auto& holder = this->holder(this->briefly());
  this->world.pass(TestFixture::briefly().lease);
  EXPECT_EQ(holder.release(), errc::lease_lost);
  EXPECT_EQ(this->join().acquire(0ns).granted.how, grant_kind::free);
}

TYPED_TEST(Engine, LetsAnOldHolderChangeNothing) {  // P4
  auto& old = this->holder(this->briefly());
  this->world.pass(TestFixture::briefly().lease);
  auto& successor = this->join();
  ASSERT_TRUE(successor.acquire(forever));
  EXPECT_EQ(old.renew(), errc::lease_lost);
  EXPECT_EQ(old.release(), errc::lease_lost);
  EXPECT_EQ(old.release(), errc::not_holder);
  old.destroy();
  EXPECT_TRUE(successor.is_held());
  EXPECT_EQ(this->join().acquire(0ns).error, errc::timed_out);
}

TYPED_TEST(Engine, TellsTheRestOfTheLeaseToTheHolder) {
  const auto s = this->world.open({.lease = 1h});
  EXPECT_EQ(s->lease(), 1h);
  EXPECT_EQ(s->lease_remaining(), 0ns);
  std::error_code ec;
  ASSERT_TRUE(s->acquire(0, {}, ec));
  EXPECT_GT(s->lease_remaining(), 59min);
  EXPECT_LE(s->lease_remaining(), 1h);
  s->set_lease(no_lease);
  EXPECT_LE(s->lease_remaining(), 1h) << "from the next grant or renewal on";
  s->renew(s->token(), ec);
  EXPECT_EQ(s->lease_remaining(), no_lease);
  s->release(s->token(), ec);
  EXPECT_EQ(s->lease_remaining(), 0ns);
}

// --- death and break ----------------------------------------------------------------------------

TYPED_TEST(Engine, OpensADeadHoldersLockAndSaysAbandonedAndWhoHadIt) {  // P5
  auto& holder = this->holder({.lease = 1h});
  const unsigned pid = holder.pid();
  auto& next = this->waiter();
  holder.kill();
  const outcome o = next.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::abandoned);
  ASSERT_TRUE(o.granted.previous);
  EXPECT_EQ(o.granted.previous->pid, pid);
}

TYPED_TEST(Engine, LeavesTheLockToTheNextWhenAWaiterDies) {  // P6, TORTURE 47
  auto& holder = this->holder();
  auto& head = this->waiter();
  auto& next = this->waiter();
  head.kill();
  EXPECT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(next.end_acquire());
}

TYPED_TEST(Engine, OpensTheLockWhenItsSessionEnds) {
  auto& holder = this->holder();
  auto& next = this->waiter();
  holder.destroy();
  const outcome o = next.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::free);
}

TYPED_TEST(Engine, BreaksAGrantForTheNextAndTellsItsHolder) {
  auto& holder = this->holder();
  auto& next = this->waiter();
  EXPECT_EQ(this->world.break_lock(), std::error_code());
  ASSERT_TRUE(next.end_acquire());
  EXPECT_FALSE(holder.is_held());
  EXPECT_EQ(holder.renew(), errc::lease_lost);
  EXPECT_EQ(holder.release(), errc::lease_lost);
  EXPECT_TRUE(next.is_held());
}

TYPED_TEST(Engine, BreaksOnlyTheGrantThatIsMeant) {
  EXPECT_EQ((this->join(), this->world.break_lock()), errc::token_mismatch) << "nobody holds it";
  auto& holder = this->join();
  const outcome first = holder.acquire(0ns);
  EXPECT_EQ(holder.release(), std::error_code());
  const outcome second = holder.acquire(0ns);
  EXPECT_EQ(this->world.break_lock(first.granted.token), errc::token_mismatch);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(this->world.break_lock(second.granted.token), std::error_code());
  EXPECT_FALSE(holder.is_held());
}

// --- waiting -------------------------------------------------------------------------------------

TYPED_TEST(Engine, HandsTheLockOnInOrderOfArrival) {  // P7
  auto& holder = this->holder();
  std::array<typename TestFixture::process*, 4> waiters{};
  for (auto*& waiter : waiters) waiter = &this->waiter();
  EXPECT_EQ(holder.release(), std::error_code());
  fencing_token last;
  for (auto* next : waiters) {
    const outcome o = next->end_acquire();
    ASSERT_TRUE(o);
    EXPECT_GT(o.granted.token, last) << "not its turn";
    EXPECT_EQ(o.granted.how, grant_kind::free);
    last = o.granted.token;
    EXPECT_EQ(next->release(), std::error_code());
  }
}

TYPED_TEST(Engine, TellsTheirPlaceToWaiters) {
  auto& holder = this->holder();
  auto& first = this->waiter();
  auto& second = this->waiter();
  EXPECT_EQ(holder.release(), std::error_code());
  EXPECT_EQ(first.end_acquire().granted.place, 0U);
  EXPECT_EQ(first.release(), std::error_code());
  EXPECT_EQ(second.end_acquire().granted.place, 1U);
}

TYPED_TEST(Engine, EndsAWaitWithItsPatienceAndNotBefore) {  // P8
  auto& holder = this->holder();
  auto& waiter = this->waiter(TypeParam::long_time);
  this->world.pass(TypeParam::long_time / 2);
  EXPECT_TRUE(waiter.is_waiting());
  this->world.pass(TypeParam::long_time / 2);
  EXPECT_EQ(waiter.end_acquire().error, errc::timed_out);
  this->world.wait_for_line_of(0);
  EXPECT_TRUE(holder.is_held());
}

TYPED_TEST(Engine, LeavesTheLockToTheNextWhenAWaiterGivesUp) {
  auto& holder = this->holder();
  auto& next = this->join();
  auto& impatient = this->waiter(TypeParam::short_lease);
  this->in_line(next);
  this->world.pass(TypeParam::short_lease);
  EXPECT_EQ(impatient.end_acquire().error, errc::timed_out);
  EXPECT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(next.end_acquire());
}

TYPED_TEST(Engine, EndsAWaitOnRequestAndLeavesNothingBehind) {  // TORTURE 49, 50
  auto& holder = this->holder();
  const auto s = this->world.open();
  std::error_code ec;
  std::jthread waiting([&](const std::stop_token& stop) { s->acquire(never, stop, ec); });
  this->world.wait_for_line_of(1);
  waiting.request_stop();
  waiting.join();
  EXPECT_EQ(ec, errc::cancelled);
  EXPECT_FALSE(s->is_held());
  this->world.wait_for_line_of(0);
  EXPECT_EQ(holder.release(), std::error_code());
  EXPECT_TRUE(this->join().acquire(0ns));
}

TYPED_TEST(Engine, GrantsAFreeLockEvenIfTheWaitIsOver) {  // P8: it arrives together
  const auto s = this->world.open();
  std::stop_source stopped;
  stopped.request_stop();
  std::error_code ec;
  EXPECT_TRUE(s->acquire(0, stopped.get_token(), ec)) << ec.message();
}

// --- one session ------------------------------------------------------------------------------

TYPED_TEST(Engine, RefusesToWaitForItself) {  // TORTURE 41
  const auto s = this->world.open();
  std::error_code ec;
  ASSERT_TRUE(s->acquire(never, {}, ec));
  EXPECT_FALSE(s->acquire(never, {}, ec));
  EXPECT_EQ(ec, errc::would_deadlock);
  EXPECT_TRUE(s->is_held());
}

TYPED_TEST(Engine, KnowsNoHolderBeforeAGrantAndAfterRelease) {
  const auto s = this->world.open();
  std::error_code ec;
  EXPECT_FALSE(s->is_held());
  EXPECT_EQ(s->token(), fencing_token());
  s->renew(s->token(), ec);
  EXPECT_EQ(ec, errc::not_holder);
  s->release(s->token(), ec);
  EXPECT_EQ(ec, errc::not_holder);
  const auto granted = s->acquire(0, {}, ec);
  ASSERT_TRUE(granted);
  EXPECT_EQ(s->token(), granted->token);
  s->release(s->token(), ec);
  EXPECT_EQ(ec, std::error_code());
  EXPECT_FALSE(s->is_held());
  EXPECT_EQ(s->token(), granted->token) << "of the last grant";
  s->release(s->token(), ec);
  EXPECT_EQ(ec, errc::not_holder);
}

// A thread may have been kept from running since it looked which grant is its own.
TYPED_TEST(Engine, LeavesAGrantAloneWhenAnotherIsRenewedOrReleased) {  // P4
  const auto s = this->world.open();
  std::error_code ec;
  ASSERT_TRUE(s->acquire(0, {}, ec));
  const fencing_token earlier(s->token().value() - 1);
  s->renew(earlier, ec);
  EXPECT_EQ(ec, errc::lease_lost);
  s->release(earlier, ec);
  EXPECT_EQ(ec, errc::lease_lost);
  s->release_quietly(earlier);
  EXPECT_TRUE(s->is_held());
  s->release(s->token(), ec);
  EXPECT_EQ(ec, std::error_code());
}

TYPED_TEST(Engine, ExcludesTheSessionsOfOneProcessToo) {  // TORTURE 40
  const auto one = this->world.open();
  const auto other = this->world.open();
  std::error_code ec;
  ASSERT_TRUE(one->acquire(0, {}, ec));
  EXPECT_FALSE(other->acquire(0, {}, ec));
  EXPECT_EQ(ec, errc::timed_out);
  one->release(one->token(), ec);
  EXPECT_TRUE(other->acquire(0, {}, ec));
}

}  // namespace
}  // namespace lockbyfile
