// SPDX-License-Identifier: Apache-2.0
//
// named_lock with what the C++ library has for mutexes.
#include <gtest/gtest.h>

#include <chrono>
#include <concepts>
#include <lockbyfile/lockbyfile.hpp>
#include <mutex>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

template <class L>
concept basic_lockable = requires(L l) {
  { l.lock() } -> std::same_as<void>;
  { l.unlock() }
  noexcept->std::same_as<void>;
};
template <class L>
concept lockable = basic_lockable<L> && requires(L l) {
  { l.try_lock() } -> std::same_as<bool>;
};
template <class L>
concept timed_lockable = lockable<L> && requires(L l) {
  { l.try_lock_for(1ms) } -> std::same_as<bool>;
  { l.try_lock_until(std::chrono::steady_clock::now()) } -> std::same_as<bool>;
};

static_assert(basic_lockable<named_lock>);
static_assert(lockable<named_lock>);
static_assert(timed_lockable<named_lock>);
static_assert(std::is_nothrow_move_constructible_v<named_lock>);
static_assert(std::is_nothrow_move_assignable_v<named_lock>);
static_assert(!std::is_copy_constructible_v<named_lock>);
static_assert(!std::is_copy_assignable_v<named_lock>);
static_assert(!std::is_copy_constructible_v<keep_alive>);
static_assert(std::is_error_code_enum_v<errc>);
static_assert(std::totally_ordered<fencing_token>);
static_assert(std::is_base_of_v<std::system_error, lock_error>);

class StdIdioms : public LockTest {
 protected:
  bool is_free_for_others() {
    const bool got = static_cast<bool>(other_.acquire(0ns));
    if (got) other_.release();
    return got;
  }
  void hold_by_another() { ASSERT_TRUE(other_.acquire(forever)); }

  lock_process other_{name()};
  named_lock lock_{name()};
};

TEST_F(StdIdioms, LockGuardHoldsForItsScope) {
  {
    const std::lock_guard guard(lock_);
    EXPECT_FALSE(is_free_for_others());
  }
  EXPECT_TRUE(is_free_for_others());
}

TEST_F(StdIdioms, ScopedLockTakesTwoInAnyOrderWithoutDeadlock) {
  named_lock second(directory() + "/second");
  std::atomic<unsigned> inside{0};
  std::thread other_way_round([&] {
    named_lock a(name());
    named_lock b(directory() + "/second");
    for (int i = 0; i < 100; ++i) {
      const std::scoped_lock both(b, a);
      EXPECT_EQ(inside.fetch_add(1), 0U);
      --inside;
    }
  });
  for (int i = 0; i < 100; ++i) {
    const std::scoped_lock both(lock_, second);
    EXPECT_EQ(inside.fetch_add(1), 0U);
    --inside;
  }
  other_way_round.join();
}

TEST_F(StdIdioms, UniqueLockIsReleasedByItsDestructorAndByAnException) {
  {
    const std::unique_lock guard(lock_);
    EXPECT_TRUE(guard.owns_lock());
    EXPECT_FALSE(is_free_for_others());
  }
  EXPECT_TRUE(is_free_for_others());
  try {
    const std::unique_lock guard(lock_);
    throw 1;
  } catch (int) {
  }
  EXPECT_TRUE(is_free_for_others());
}

TEST_F(StdIdioms, UniqueLockThatTriesDoesNotWait) {
  EXPECT_TRUE(std::unique_lock(lock_, std::try_to_lock).owns_lock());
  hold_by_another();
  EXPECT_FALSE(std::unique_lock(lock_, std::try_to_lock).owns_lock());
}

TEST_F(StdIdioms, UniqueLockWaitsForADurationOrUntilAnInstantAndNotLess) {
  EXPECT_TRUE(std::unique_lock(lock_, 10ms).owns_lock());
  EXPECT_TRUE(std::unique_lock(lock_, std::chrono::steady_clock::now() + 10ms).owns_lock());
  EXPECT_TRUE(std::unique_lock(lock_, std::chrono::system_clock::now() + 10ms).owns_lock());
  hold_by_another();
  const auto start = steady_now();
  EXPECT_FALSE(std::unique_lock(lock_, 10ms).owns_lock());
  EXPECT_GE(steady_now() - start, 10ms);
  const auto until = std::chrono::steady_clock::now() + 10ms;
  EXPECT_FALSE(std::unique_lock(lock_, until).owns_lock());
  EXPECT_GE(std::chrono::steady_clock::now(), until);
  const auto until_by_the_wall = std::chrono::system_clock::now() + 10ms;
  EXPECT_FALSE(std::unique_lock(lock_, until_by_the_wall).owns_lock());
  EXPECT_GE(std::chrono::system_clock::now(), until_by_the_wall);
}

TEST_F(StdIdioms, UniqueLockIsServedWhileItWaits) {
  hold_by_another();
  std::thread releasing([&] {
    wait_for_line_of(1);
    EXPECT_EQ(other_.release(), std::error_code());
  });
  EXPECT_TRUE(std::unique_lock(lock_, 1h).owns_lock());
  releasing.join();
}

TEST_F(StdIdioms, LockWaitsForThePatienceOfTheOptionsAndThrowsTimedOut) {
  hold_by_another();
  named_lock impatient(name(), {.patience = 10ms});
  const auto start = steady_now();
  try {
    impatient.lock();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const lock_error& e) {
    EXPECT_EQ(e.code(), errc::timed_out);
    EXPECT_EQ(e.code(), std::errc::timed_out);
    EXPECT_EQ(e.path(), name());
    EXPECT_NE(std::string(e.what()).find(name()), std::string::npos);
  }
  EXPECT_GE(steady_now() - start, 10ms);
  EXPECT_THROW((void)impatient.acquire(), lock_error);
  ASSERT_EQ(other_.release(), std::error_code());
  EXPECT_NO_THROW(impatient.lock());
}

TEST_F(StdIdioms, UnlockAfterATakeoverIsSilentAndHarmless) {  // P4
  lock_.set_lease(1ns);
  lock_.lock();
  hold_by_another();
  lock_.unlock();
  EXPECT_TRUE(other_.is_held());
  lock_.unlock();  // and without a grant
}

TEST_F(StdIdioms, CallsWithoutAGrantSayNotHolder) {
  std::error_code ec;
  lock_.release(ec);
  EXPECT_EQ(ec, errc::not_holder);
  lock_.renew(ec);
  EXPECT_EQ(ec, errc::not_holder);
  EXPECT_THROW(lock_.renew(), lock_error);
  EXPECT_FALSE(lock_.token());
  EXPECT_FALSE(lock_.is_held());
}

TEST_F(StdIdioms, MovingTakesTheGrantAlong) {
  const grant granted = lock_.acquire(0ns);
  named_lock moved(std::move(lock_));
  EXPECT_TRUE(moved.is_held());
  EXPECT_EQ(moved.token(), granted.token);
  named_lock assigned(directory() + "/elsewhere");
  (void)assigned.acquire(0ns);
  assigned = std::move(moved);
  EXPECT_EQ(assigned.token(), granted.token);
  lock_process elsewhere(directory() + "/elsewhere");
  EXPECT_TRUE(elsewhere.acquire(0ns)) << "what it was assigned over was to be released";
  EXPECT_FALSE(is_free_for_others());
}

TEST_F(StdIdioms, AssigningAHeldLockToItselfKeepsIt) {
  (void)lock_.acquire(0ns);
  named_lock& same = lock_;
  lock_ = std::move(same);
  EXPECT_TRUE(lock_.is_held());
}

TEST_F(StdIdioms, OpenGivesTheErrorInPlaceOfAnException) {
  std::error_code ec = errc::stuck;
  const auto opened = named_lock::open(name(), {}, ec);
  EXPECT_TRUE(opened);
  EXPECT_EQ(ec, std::error_code());
  EXPECT_FALSE(named_lock::open("", {}, ec));
  EXPECT_EQ(ec, errc::invalid_name);
  EXPECT_FALSE(named_lock::open(directory() + "/no/such/lock", {}, ec));
  EXPECT_EQ(ec, std::errc::no_such_file_or_directory);
}

TEST_F(StdIdioms, AnErrorCodeOfTheLastCallIsCleared) {
  std::error_code ec = errc::lease_lost;
  (void)lock_.acquire(0ns, {}, ec);
  EXPECT_EQ(ec, std::error_code());
  ec = errc::lease_lost;
  lock_.renew(ec);
  EXPECT_EQ(ec, std::error_code());
  ec = errc::lease_lost;
  lock_.release(ec);
  EXPECT_EQ(ec, std::error_code());
}

}  // namespace
}  // namespace lockbyfile
