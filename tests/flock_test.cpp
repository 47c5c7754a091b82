// SPDX-License-Identifier: Apache-2.0
//
// The claims of FLock, the API of 2015. Leases run in real time here, since nothing
// but time ends them; they are short. A claim about what holds before a short lease
// ends needs a machine that isn't too busy, and has Timing in its name.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "support/temporary_directory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

static_assert(std::has_virtual_destructor_v<FLock>);
static_assert(std::is_nothrow_move_constructible_v<FLock>);
static_assert(!std::is_copy_constructible_v<FLock>);

void sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// How long `action` takes, in seconds.
template <class Action>
double seconds_of(Action action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <class Action>
void expect_error(errc expected, Action action) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), expected) << error.what();
  }
}

class FLockTest : public ::testing::Test {
 protected:
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] fencing_token token() const { return observe(name_).grants.at(0).token; }

 private:
  temporary_directory directory_;
  std::string name_ = directory_.path() + "/bed.lockfile";
};

using FLockTimingTest = FLockTest;

TEST_F(FLockTest, DefaultsAreThoseOf2015) {
  const FLock L(name());
  EXPECT_EQ(L.TIMEOUT, 10);
  EXPECT_EQ(L.PATIENCE, 30);
}

TEST_F(FLockTest, LocksAndUnlocks) {
  FLock L(name());
  ASSERT_TRUE(L.LoopWhileLocked_ThenLocking());
  EXPECT_TRUE(L.isLocked());
  EXPECT_TRUE(L.exists());
  EXPECT_FALSE(L.timedOut());
  EXPECT_TRUE(L.unlocking());
  EXPECT_FALSE(L.isLocked());
  EXPECT_FALSE(L.exists());
  EXPECT_FALSE(L.timedOut());
  EXPECT_TRUE(L.LoopWhileLocked_ThenLocking());
}

// Names

TEST_F(FLockTest, ConstructingAndLookingCreateNoLockfile) {
  FLock L(name());
  EXPECT_FALSE(L.isLocked());
  EXPECT_FALSE(L.exists());
  EXPECT_FALSE(L.timedOut());
  EXPECT_EQ(L.age(), -1);
  EXPECT_FALSE(L.loopWhileLocked());
  EXPECT_FALSE(L.unlocking());
  EXPECT_FALSE(L.breakLock());
  EXPECT_FALSE(std::filesystem::exists(L.filename()));
  ASSERT_TRUE(L.locking());
  EXPECT_TRUE(std::filesystem::exists(L.filename()));
}

TEST_F(FLockTest, BadNamesAreRefusedByTheConstructor) {
  for (const std::string& bad : {std::string(), std::string(".."), std::string("a\0b", 3),
                                 std::string(5000, 'x'), std::string("dir/")})
    expect_error(errc::invalid_name, [&] { FLock{bad}; });
  expect_error(errc::wrong_engine, [] { FLock{"etcd://host/name"}; });
}

TEST_F(FLockTest, BareNameIsALockfileInTheCurrentDirectoryOfItsConstruction) {
  const temporary_directory here;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(here.path());
  FLock L("bed");
  std::filesystem::current_path(before);
  ASSERT_TRUE(L.locking());
  EXPECT_EQ(L.filename(), std::filesystem::canonical(here.path()) / "bed.lockfile");
  EXPECT_TRUE(std::filesystem::exists(L.filename()));
}

TEST_F(FLockTest, TheNameDecidesAndNotTheInstance) {
  FLock L(name());
  FLock L2(name());
  ASSERT_TRUE(L.locking());
  EXPECT_TRUE(L2.isLocked());
  EXPECT_FALSE(L2.locking());
  EXPECT_FALSE(L2.unlocking()) << "only the holder can unlock";
  EXPECT_TRUE(L.unlocking());
  EXPECT_TRUE(L2.locking());
}

TEST_F(FLockTest, DataFileIsNeverMadeALockfile) {
  const temporary_directory here;
  const std::string data = here.path() + "/db.sqlite3";
  std::ofstream(data).close();
  const auto before = std::filesystem::last_write_time(data);
  FLock L(data);
  EXPECT_EQ(L.filename(), data + ".lockfile");
  ASSERT_TRUE(L.LoopWhileLocked_ThenLocking());
  EXPECT_TRUE(L.isLocked());
  EXPECT_TRUE(L.unlocking());
  (void)L.breakLock();
  EXPECT_EQ(std::filesystem::file_size(data), 0U);
  EXPECT_EQ(std::filesystem::last_write_time(data), before);
}

TEST_F(FLockTest, ExtensionIsAppendedUnlessItIsThere) {
  const temporary_directory here;
  const std::string at = std::filesystem::canonical(here.path()).string() + "/";
  for (const auto& [name, file] :
       {std::pair("a", "a.lockfile"), std::pair("a.lockfile", "a.lockfile"),
        std::pair("a.lock", "a.lock.lockfile"), std::pair(".lockfile", ".lockfile.lockfile")}) {
    EXPECT_EQ(FLock(at + name).filename(), at + file);
  }
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(at);
  EXPECT_EQ(FLock("a").filename(), at + "a.lockfile");
  EXPECT_EQ(FLock("a.lockfile").filename(), at + "a.lockfile");
  EXPECT_EQ(FLock("./a").filename(), at + "a.lockfile");
  std::filesystem::current_path(before);
}

TEST_F(FLockTest, OnServersIsRefused) {
  ::setenv("LOCKBYFILE_DIR", "etcd://127.0.0.1/jobs", 1);
  for (const char* name : {"a", "etcd://127.0.0.1/a"}) {
    try {
      FLock lock(name);
      ADD_FAILURE() << name;
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::wrong_engine);
      EXPECT_NE(std::string(error.what()).find("for locks in files"), std::string::npos);
    }
  }
  ::unsetenv("LOCKBYFILE_DIR");
}

TEST_F(FLockTest, NameAndFileReadBack) {
  const temporary_directory here;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(here.path());
  FLock L("bed");
  EXPECT_EQ(L.name(), "bed");
  EXPECT_EQ(L.fn(), "bed.lockfile");
  EXPECT_EQ(L.dirname(), L.fn());
  ASSERT_TRUE(L.locking());
  EXPECT_TRUE(std::filesystem::exists(L.fn()));
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::exists(L.fn())) << "it leads to the lockfile from anywhere";
}

TEST_F(FLockTest, TimesOfWaitingAndLockingAreKept) {
  FLock L(name());
  FLock waiter(name());
  EXPECT_FALSE(L.lockingTime());
  EXPECT_FALSE(L.startedWaitingTime());
  EXPECT_TRUE(L.stillPatience());
  ASSERT_TRUE(L.locking());
  ASSERT_TRUE(L.lockingTime());
  EXPECT_GT(*L.lockingTime(), 1e9);
  EXPECT_FALSE(L.startedWaitingTime());
  waiter.PATIENCE = 0.01;
  EXPECT_FALSE(waiter.LoopWhileLocked_ThenLocking());
  EXPECT_TRUE(waiter.startedWaitingTime());
  EXPECT_FALSE(waiter.lockingTime());
  sleep(0.02);
  waiter.startWaiting();
  EXPECT_FALSE(waiter.stillPatience()) << "the first moment counts";
  waiter.PATIENCE = 600;
  EXPECT_TRUE(waiter.stillPatience());
  EXPECT_TRUE(L.unlocking());
  EXPECT_FALSE(L.lockingTime());
}

// TIMEOUT, the lease

TEST_F(FLockTest, TimeoutSetWhileItIsHeldCounts) {
  FLock L(name());
  FLock other(name());
  ASSERT_TRUE(L.locking());
  L.TIMEOUT = 3600;
  EXPECT_TRUE(L.isLocked());
  EXPECT_GT(observe(name()).holder->lease, 10s) << "others obey it";
  other.TIMEOUT = 1e-9;
  EXPECT_TRUE(other.isLocked()) << "it is not the other's";
  L.TIMEOUT = 1e-9;
  EXPECT_FALSE(L.isLocked());
  EXPECT_TRUE(L.timedOut());
  EXPECT_FALSE(other.isLocked());
  EXPECT_FALSE(L.unlocking()) << "too late";
  L.TIMEOUT = 60;
  ASSERT_TRUE(L.locking());
  L.TIMEOUT = 1e-9;
  EXPECT_FALSE(L.unlocking()) << "too late, though nobody asked before";
  EXPECT_TRUE(other.locking());
}

TEST_F(FLockTest, RemoveIfTimedOutSparesWhatHasNot) {
  FLock L(name());
  FLock other(name());
  other.removeIfTimedOut();
  ASSERT_TRUE(L.locking());
  other.removeIfTimedOut();
  EXPECT_TRUE(L.existsAndNotTimedOut());
  L.TIMEOUT = 1e-9;
  EXPECT_FALSE(L.existsAndNotTimedOut());
  EXPECT_TRUE(other.exists());
  other.removeIfTimedOut();
  EXPECT_FALSE(other.exists());
}

TEST_F(FLockTest, UnlockingIsTrueOnlyForTheRightfulHolderInTime) {
  FLock L(name());
  EXPECT_FALSE(L.unlocking()) << "never locked";
  L.TIMEOUT = 0.05;
  ASSERT_TRUE(L.locking());
  sleep(0.06);
  EXPECT_FALSE(L.unlocking()) << "too late";
  EXPECT_FALSE(L.unlocking());
  L.TIMEOUT = 10;
  ASSERT_TRUE(L.locking());
  EXPECT_TRUE(L.unlocking());
  EXPECT_FALSE(L.unlocking()) << "twice";
}

TEST_F(FLockTest, LateUnlockingLeavesTheSuccessorAlone) {
  FLock L(name());
  FLock L2(name());
  L.TIMEOUT = 0.05;
  ASSERT_TRUE(L.locking());
  const fencing_token token_of_old = token();
  ASSERT_TRUE(L2.LoopWhileLocked_ThenLocking());
  EXPECT_GT(token(), token_of_old);
  EXPECT_FALSE(L.unlocking());
  EXPECT_TRUE(L2.isLocked());
  EXPECT_TRUE(L2.unlocking());
}

TEST_F(FLockTimingTest, TimeoutTravelsInTheLock) {
  FLock L(name());
  FLock hasty(name());
  L.TIMEOUT = 0.2;
  hasty.TIMEOUT = 0.01;
  ASSERT_TRUE(L.locking());
  L.TIMEOUT = 0.01;  // too late to matter for this grant
  sleep(0.05);
  EXPECT_TRUE(hasty.isLocked());
  EXPECT_FALSE(hasty.locking());
  bool acquired = false;
  EXPECT_GE(seconds_of([&] { acquired = hasty.LoopWhileLocked_ThenLocking(); }), 0.1)
      << "L's lease must run for 0.2 s";
  EXPECT_TRUE(acquired);
  EXPECT_EQ(observe(name()).grants.at(0).how, grant_kind::expired);
}

TEST_F(FLockTest, TimeoutIsReadAtEachLocking) {
  FLock L(name());
  for (const double timeout : {5.0, 7.0}) {
    L.TIMEOUT = timeout;
    ASSERT_TRUE(L.locking());
    EXPECT_EQ(observe(name()).holder->lease, std::chrono::duration<double>(timeout));
    ASSERT_TRUE(L.unlocking());
  }
}

TEST_F(FLockTest, SubclassMayChangeDefaults) {
  class short_lock : public FLock {
   public:
    explicit short_lock(const std::string& name) : FLock(name) {
      TIMEOUT = 7;
      PATIENCE = 0;
    }
  };
  short_lock L(name());
  short_lock impatient(name());
  ASSERT_TRUE(L.locking());
  EXPECT_EQ(observe(name()).holder->lease, 7s);
  EXPECT_LT(seconds_of([&] { EXPECT_FALSE(impatient.LoopWhileLocked_ThenLocking()); }), 6);
}

TEST_F(FLockTest, BadTimeoutsAreRefused) {
  FLock L(name());
  for (const double bad : {0.0, -0.0, -1.0, -infinity, not_a_number}) {
    L.TIMEOUT = bad;
    expect_error(errc::invalid_option, [&] { EXPECT_FALSE(L.locking()); });
    expect_error(errc::invalid_option, [&] { EXPECT_FALSE(L.LoopWhileLocked_ThenLocking()); });
  }
  EXPECT_FALSE(L.isLocked());
  L.TIMEOUT = 10;
  EXPECT_TRUE(L.locking()) << "a refused option must leave nothing behind";
}

TEST_F(FLockTest, TimeoutBeyondAllRangeIsNoLease) {
  FLock L(name());
  for (const double large : {infinity, 1e300, 1e10}) {
    L.TIMEOUT = large;
    ASSERT_TRUE(L.locking());
    EXPECT_EQ(observe(name()).holder->lease, no_lease);
    EXPECT_TRUE(L.isLocked());
    EXPECT_TRUE(L.unlocking());
  }
}

TEST_F(FLockTest, ATinyTimeoutIsNotRoundedToNone) {
  FLock L(name());
  L.TIMEOUT = 1e-300;
  EXPECT_TRUE(L.locking());
  EXPECT_EQ(observe(name()).holder->lease, 1ns);
  EXPECT_FALSE(L.unlocking());
}

TEST_F(FLockTest, AHundredYearsAreALease) {
  FLock L(name());
  L.TIMEOUT = 100 * 365.25 * 86400;
  ASSERT_TRUE(L.locking());
  const nanoseconds left = observe(name()).holder->lease_left;
  EXPECT_LT(left, no_lease);
  EXPECT_GT(left, 24h * 36500);
  EXPECT_TRUE(L.unlocking());
}

// PATIENCE

TEST_F(FLockTest, LackOfPatienceEndsTheWaiting) {
  FLock L(name());
  FLock waiter(name());
  ASSERT_TRUE(L.locking());
  waiter.PATIENCE = 0.1;
  bool acquired = true;
  EXPECT_GE(seconds_of([&] { acquired = waiter.LoopWhileLocked_ThenLocking(); }), 0.1);
  EXPECT_FALSE(acquired);
  EXPECT_TRUE(observe(name()).waiters.empty());
  EXPECT_TRUE(L.unlocking());
}

TEST_F(FLockTest, NoPatienceTriesOnce) {
  FLock L(name());
  FLock waiter(name());
  for (const double none : {0.0, -1.0, -infinity}) {
    waiter.PATIENCE = none;
    ASSERT_TRUE(L.locking());
    EXPECT_FALSE(waiter.LoopWhileLocked_ThenLocking());
    ASSERT_TRUE(L.unlocking());
    EXPECT_TRUE(waiter.LoopWhileLocked_ThenLocking());
    ASSERT_TRUE(waiter.unlocking());
  }
}

TEST_F(FLockTest, EndlessPatienceWaits) {
  FLock L(name());
  FLock waiter(name());
  waiter.PATIENCE = infinity;
  L.TIMEOUT = 0.05;
  ASSERT_TRUE(L.locking());
  EXPECT_TRUE(waiter.LoopWhileLocked_ThenLocking());
}

TEST_F(FLockTest, PatienceThatIsNoNumberIsRefused) {
  FLock L(name());
  L.PATIENCE = not_a_number;
  expect_error(errc::invalid_option, [&] { EXPECT_FALSE(L.LoopWhileLocked_ThenLocking()); });
  expect_error(errc::invalid_option, [&] { EXPECT_FALSE(L.loopWhileLocked()); });
  EXPECT_TRUE(L.locking()) << "locking has no patience to look at";
}

TEST_F(FLockTest, LockingTwiceWithOneInstanceIsFalse) {
  FLock L(name());
  ASSERT_TRUE(L.locking());
  EXPECT_FALSE(L.locking());
  EXPECT_LT(seconds_of([&] { EXPECT_FALSE(L.LoopWhileLocked_ThenLocking()); }), 10)
      << "nobody but itself could end that wait";
  EXPECT_TRUE(L.unlocking()) << "the grant is still the first one";
}

// Looking

TEST_F(FLockTimingTest, LoopWhileLockedWaitsTakingNothing) {
  FLock L(name());
  const FLock looker(name());
  L.TIMEOUT = 0.2;
  ASSERT_TRUE(L.locking());
  const fencing_token before = token();
  bool waited = false;
  EXPECT_GE(seconds_of([&] { waited = looker.loopWhileLocked(); }), 0.1);
  EXPECT_TRUE(waited);
  EXPECT_EQ(token(), before) << "nobody was granted the lock";
  EXPECT_FALSE(looker.isLocked());
}

TEST_F(FLockTest, LoopWhileLockedIsFalseIfTheLockWasOpenAnyway) {
  FLock L(name());
  ASSERT_TRUE(L.locking());
  ASSERT_TRUE(L.unlocking());
  EXPECT_FALSE(L.loopWhileLocked());
}

TEST_F(FLockTest, LoopWhileLockedGivesUpAfterPatience) {
  FLock L(name());
  FLock looker(name());
  ASSERT_TRUE(L.locking());
  looker.PATIENCE = 0.05;
  EXPECT_GE(seconds_of([&] { EXPECT_TRUE(looker.loopWhileLocked()); }), 0.05);
  EXPECT_TRUE(L.isLocked());
}

TEST_F(FLockTest, ATimedOutLockExistsUntilSomebodyTakesOrBreaksIt) {
  FLock L(name());
  L.TIMEOUT = 0.05;
  ASSERT_TRUE(L.locking());
  sleep(0.06);
  EXPECT_FALSE(L.isLocked());
  EXPECT_TRUE(L.timedOut());
  EXPECT_TRUE(L.exists()) << "looking must not break it, as it did in 2015";
  EXPECT_TRUE(L.breakLock());
  EXPECT_FALSE(L.exists());
  EXPECT_FALSE(L.timedOut());
}

TEST_F(FLockTest, AgeCountsFromTheGrant) {
  FLock L(name());
  ASSERT_TRUE(L.locking());
  sleep(0.1);
  EXPECT_GE(L.age(), 0.09);
  ASSERT_TRUE(L.unlocking());
  EXPECT_EQ(L.age(), -1);
}

TEST_F(FLockTest, BreakLockIsTrueIfThereWasSomethingToBreak) {
  FLock L(name());
  FLock L2(name());
  ASSERT_TRUE(L.locking());
  EXPECT_TRUE(L2.breakLock());
  EXPECT_FALSE(L2.breakLock());
  EXPECT_FALSE(L.unlocking()) << "it was broken";
  EXPECT_TRUE(L2.locking());
}

// The object and its process

TEST_F(FLockTest, DestroyingTheInstanceOpensTheLock) {
  const FLock other(name());
  {
    FLock L(name());
    ASSERT_TRUE(L.locking());
    EXPECT_TRUE(other.isLocked());
  }
  EXPECT_FALSE(other.isLocked());
}

TEST_F(FLockTest, MovingTakesTheGrantAndTheSettingsAlong) {
  FLock L(name());
  L.PATIENCE = 3;
  ASSERT_TRUE(L.locking());
  FLock moved(std::move(L));
  EXPECT_EQ(moved.PATIENCE, 3);
  EXPECT_TRUE(moved.isLocked());
  EXPECT_TRUE(moved.unlocking());
}

TEST_F(FLockTest, AProcessThatEndsOpensTheLockAtOnce) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FLock L(name());
    ::_exit(L.locking() ? 0 : 1);  // without unlocking, and with 10 s of lease left
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  FLock L(name());
  EXPECT_FALSE(L.isLocked());
  EXPECT_TRUE(L.locking());
  EXPECT_EQ(observe(name()).grants.at(0).how, grant_kind::abandoned);
}

TEST_F(FLockTest, SomethingElseAtThePathIsAnErrorAndNotAnAnswer) {
  std::filesystem::create_directory(name());
  FLock L(name());
  EXPECT_THROW((void)L.locking(), lock_error);
  EXPECT_THROW((void)L.LoopWhileLocked_ThenLocking(), lock_error);
  EXPECT_THROW((void)L.isLocked(), lock_error);
  EXPECT_THROW((void)L.exists(), lock_error);
  EXPECT_THROW(L.breakLock(), lock_error);
}

}  // namespace
}  // namespace lockbyfile
