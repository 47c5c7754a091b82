// SPDX-License-Identifier: Apache-2.0
//
// break_lock: an operator forces the lock open.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <system_error>

#include "file/records.hpp"
#include "support/files.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class Breaking : public LockTest {
 protected:
  std::error_code break_with(fencing_token token) {
    std::error_code ec;
    break_lock(name(), token, {}, ec);
    return ec;
  }

  /// The file is deleted while `holder` has the lock, and `next` gets and releases that of the
  /// path's next one.
  void delete_under(lock_process& holder, lock_process& next) {
    ASSERT_TRUE(holder.acquire(0ns));
    std::filesystem::remove(name());
    outlive_the_last_look_at_the_path();
    ASSERT_EQ(next.acquire(0ns).granted.how, grant_kind::broken);
    ASSERT_EQ(next.release(), std::error_code());
  }

  lock_process holder_{name()};
};

TEST_F(Breaking, UnderTheRightTokenOpensTheLockAndTheHolderLearnsOfIt) {
  const outcome held = holder_.acquire(0ns);
  EXPECT_EQ(break_with(held.granted.token), std::error_code());
  EXPECT_FALSE(look().holder);
  EXPECT_FALSE(holder_.is_held());
  EXPECT_EQ(holder_.renew(), errc::lease_lost);
  EXPECT_EQ(holder_.release(), errc::lease_lost);
}

TEST_F(Breaking, UnderAnyOtherTokenIsRefusedAndChangesNothing) {
  const outcome held = holder_.acquire(0ns);
  const std::uint64_t token = held.granted.token.value();
  const auto before = mapped_lockfile(name()).word();
  for (const std::uint64_t wrong : {std::uint64_t{1}, token - 1, token + 1, ~std::uint64_t{0}}) {
    EXPECT_EQ(break_with(fencing_token(wrong)), errc::token_mismatch);
  }
  EXPECT_EQ(mapped_lockfile(name()).word(), before);
  EXPECT_TRUE(holder_.is_held());
  try {
    break_lock(name(), fencing_token(1));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const lock_error& e) {
    EXPECT_EQ(e.code(), errc::token_mismatch);
    EXPECT_EQ(e.path(), name());
  }
}

TEST_F(Breaking, UnderTheTokenOfAGrantThatIsOverDoesNotHitItsSuccessor) {  // P4
  const outcome old = holder_.acquire(0ns);
  ASSERT_EQ(holder_.release(), std::error_code());
  lock_process successor(name());
  ASSERT_TRUE(successor.acquire(0ns));
  EXPECT_EQ(break_with(old.granted.token), errc::token_mismatch);
  EXPECT_TRUE(successor.is_held());
}

TEST_F(Breaking, UnderNoTokenHitsWhoeverHoldsIt) {
  ASSERT_TRUE(holder_.acquire(0ns));
  EXPECT_EQ(break_with({}), std::error_code());
  EXPECT_FALSE(holder_.is_held());
}

TEST_F(Breaking, AfterRenewalsGoesByTheTokenOfTheGrant) {
  const outcome held = holder_.acquire(0ns);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(holder_.renew(), std::error_code());
  EXPECT_EQ(break_with(held.granted.token), std::error_code());
  EXPECT_FALSE(holder_.is_held());
}

TEST_F(Breaking, AFreeLockIsRefused) {
  EXPECT_EQ(break_with({}), errc::token_mismatch);
  EXPECT_EQ(break_with(fencing_token(1)), errc::token_mismatch);
}

TEST_F(Breaking, ALockThatDoesNotExistIsRefusedAndCreatesNone) {
  std::error_code ec;
  break_lock(directory() + "/none", {}, {}, ec);
  EXPECT_EQ(ec, errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(directory() + "/none"));
}

TEST_F(Breaking, ServesAWaiter) {
  lock_process waiter(name());
  const outcome held = holder_.acquire(0ns);
  queue(waiter);
  EXPECT_EQ(break_with(held.granted.token), std::error_code());
  const outcome taken = waiter.end_acquire();
  ASSERT_TRUE(taken) << taken;
  EXPECT_GT(taken.granted.token, held.granted.token);
  EXPECT_EQ(holder_.release(), errc::lease_lost);
  EXPECT_TRUE(waiter.is_held());
}

TEST_F(Breaking, TheBrokenHolderMayAcquireAnew) {
  const outcome held = holder_.acquire(0ns);
  EXPECT_EQ(break_with({}), std::error_code());
  const outcome again = holder_.acquire(0ns);
  ASSERT_TRUE(again) << again;
  EXPECT_GT(again.granted.token, held.granted.token);
  EXPECT_TRUE(holder_.is_held());
}

TEST_F(Breaking, AnAbandonedLockWorksToo) {
  const outcome held = holder_.acquire(0ns);
  holder_.kill();
  EXPECT_EQ(break_with(held.granted.token), std::error_code());
  EXPECT_FALSE(look().holder);
}

TEST_F(Breaking, MakesTheNextGrantBrokenAndOnlyThatOne) {
  lock_process next(name());
  const outcome held = holder_.acquire(0ns);
  ASSERT_EQ(break_with(held.granted.token), std::error_code());
  EXPECT_EQ(next.acquire(0ns).granted.how, grant_kind::broken);
  EXPECT_EQ(look().grants.at(0).how, grant_kind::broken);
  ASSERT_EQ(next.release(), std::error_code());
  EXPECT_EQ(next.acquire(0ns).granted.how, grant_kind::free);
}

TEST_F(Breaking, TellsAWaiterSoHoweverOftenTheHolderRenewed) {
  lock_process waiter(name());
  ASSERT_TRUE(holder_.acquire(0ns));
  queue(waiter);
  for (int i = 0; i < 7; ++i) ASSERT_EQ(holder_.renew(), std::error_code());
  ASSERT_EQ(break_with({}), std::error_code());
  EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::broken);
}

TEST_F(Breaking, IsRecordedWithTheOneWhoDidItAndWhen) {
  const auto before = std::chrono::system_clock::now() - 1ms;
  const outcome held = holder_.acquire(0ns);
  EXPECT_FALSE(look().last_break);
  std::error_code ec;
  break_lock(name(), {}, {.description = "operator"}, ec);
  ASSERT_EQ(ec, std::error_code());
  const auto last = look().last_break;
  ASSERT_TRUE(last);
  EXPECT_EQ(last->token, held.granted.token);
  EXPECT_EQ(last->by, (party{static_cast<unsigned>(::getpid()), ::geteuid(), "operator"}));
  EXPECT_GE(last->at, before);
  EXPECT_LE(last->at, std::chrono::system_clock::now());
}

TEST_F(Breaking, AHalfWrittenRecordIsNotShown) {
  ASSERT_TRUE(holder_.acquire(0ns));
  ASSERT_EQ(break_with({}), std::error_code());
  ASSERT_TRUE(look().last_break);
  mapped_lockfile file(name());
  file->header.broken_by_user.fetch_add(1);
  EXPECT_FALSE(look().last_break);
  file->header.broken_by_user.fetch_sub(1);
  EXPECT_TRUE(look().last_break);
  file->header.broken_by_command[5].store(~std::uint64_t{0});
  EXPECT_FALSE(look().last_break);
}

TEST_F(Breaking, ARecordOfAnOlderGrantDoesNotReplaceThatOfANewerOne) {
  mapped_lockfile file(name());
  file::write_break(file->header, {fencing_token(9), {1, 2, "new"}, {}});
  file::write_break(file->header, {fencing_token(8), {3, 4, "late"}, {}});
  EXPECT_EQ(look().last_break.value().by.command, "new");
}

TEST_F(Breaking, ADeletedFileMakesTheFirstGrantOfTheNextOneBroken) {
  lock_process waiter(name());
  const outcome held = holder_.acquire(0ns);
  queue(waiter);
  std::filesystem::remove(name());
  const outcome taken = waiter.end_acquire();
  EXPECT_EQ(taken.granted.how, grant_kind::broken);
  const auto last = look().last_break;
  ASSERT_TRUE(last);
  EXPECT_EQ(last->token, held.granted.token);
  EXPECT_EQ(last->by.pid, 0U) << "nobody knows who deleted it";
}

TEST_F(Breaking, AHolderWhoFindsItsFileDeletedTellsThoseWhoHaveItOpen) {
  lock_process next(name());
  ASSERT_TRUE(holder_.acquire(0ns));
  std::filesystem::remove(name());
  outlive_the_last_look_at_the_path();
  ASSERT_EQ(holder_.release(), errc::lease_lost);
  EXPECT_EQ(next.acquire(0ns).granted.how, grant_kind::broken);
}

TEST_F(Breaking, ADeletedFileThatNobodyHeldIsNoBreak) {
  ASSERT_TRUE(holder_.acquire(0ns));
  ASSERT_EQ(holder_.release(), std::error_code());
  std::filesystem::remove(name());
  outlive_the_last_look_at_the_path();
  EXPECT_EQ(holder_.acquire(0ns).granted.how, grant_kind::free);
  EXPECT_FALSE(look().last_break);
}

TEST_F(Breaking, AGrantInTheNextFileIsNotHiddenByWhatHappenedToTheOld) {
  lock_process late(name());
  lock_process first_of_new(name());
  ASSERT_NO_FATAL_FAILURE(delete_under(holder_, first_of_new));
  EXPECT_EQ(late.acquire(0ns).granted.how, grant_kind::free) << "the second grant of that file";
}

TEST_F(Breaking, ADeletionIsToldOfTheNextFileOnlyAlsoByOneWhoSleptThroughThat) {
  for (const bool has_released : {false, true}) {
    SCOPED_TRACE(has_released);
    lock_process holder(name());
    lock_process late(name());
    lock_process first_of_new(name());
    ASSERT_NO_FATAL_FAILURE(delete_under(holder, first_of_new));
    if (has_released) {
      ASSERT_EQ(holder.release(), errc::lease_lost);
    }
    remove(name());
    outlive_the_last_look_at_the_path();
    EXPECT_EQ(late.acquire(0ns).granted.how, grant_kind::free) << "the first grant of the third";
    ASSERT_EQ(late.release(), std::error_code());
  }
}

TEST_F(Breaking, IsNotPossibleTwice) {
  const outcome held = holder_.acquire(0ns);
  EXPECT_EQ(break_with(held.granted.token), std::error_code());
  EXPECT_EQ(break_with(held.granted.token), errc::token_mismatch);
}

}  // namespace
}  // namespace lockbyfile
