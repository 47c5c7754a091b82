// SPDX-License-Identifier: Apache-2.0
//
// session::why_lost of the engine of files: each cause of a loss, and the next holder.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <thread>

#include "file/session.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

/// For the path to be looked at again: the coarse clock ticks every 10 ms at the latest.
constexpr auto another_tick = 15ms;

class WhyLost : public LockTest {
 protected:
  file::file_session& open(std::chrono::nanoseconds lease = no_lease) {
    session_.emplace(name(), lock_options{.lease = lease});
    return *session_;
  }
  file::file_session& hold(std::chrono::nanoseconds lease = no_lease) {
    file::file_session& s = open(lease);
    std::error_code ec;
    EXPECT_TRUE(s.acquire(0, {}, ec)) << ec.message();
    return s;
  }
  session::loss after_release() {
    std::error_code ec;
    session_->release(session_->token(), ec);
    EXPECT_EQ(ec, errc::lease_lost);
    return session_->why_lost();
  }
  session::loss after_renewal() {
    std::error_code ec;
    session_->renew(session_->token(), ec);
    EXPECT_EQ(ec, errc::lease_lost);
    return session_->why_lost();
  }
  std::optional<file::file_session> session_;
};

TEST_F(WhyLost, SaysNothingOfAGrantThatLasts) {
  EXPECT_EQ(hold(1h).why_lost().cause, lost_cause::none);
  std::error_code ec;
  session_->release(session_->token(), ec);
  ASSERT_FALSE(ec);
  EXPECT_EQ(session_->why_lost().cause, lost_cause::none);
}

TEST_F(WhyLost, ExpiredWithNobodyAfterIt) {
  hold(1ms);
  std::this_thread::sleep_for(2ms);
  const auto l = after_release();
  EXPECT_EQ(l.cause, lost_cause::expired);
  EXPECT_FALSE(l.holder);
}

TEST_F(WhyLost, ExpiredAndTakenOverNamesWhoHasItNow) {
  hold(1ms);
  lock_process next(name(), {.description = "successor"});
  ASSERT_TRUE(next.acquire(10s));
  const auto l = after_renewal();
  EXPECT_EQ(l.cause, lost_cause::expired);
  ASSERT_TRUE(l.holder);
  EXPECT_EQ(l.holder->command, "successor");
}

TEST_F(WhyLost, BrokenWhoeverHasItNow) {
  hold(1h);
  break_lock(name(), {});
  EXPECT_EQ(session_->why_lost().cause, lost_cause::broken) << "before anybody else was told";
  lock_process next(name(), {.description = "successor"});
  ASSERT_TRUE(next.acquire(0ns));
  const auto l = after_release();
  EXPECT_EQ(l.cause, lost_cause::broken);
  EXPECT_EQ(l.holder.value().command, "successor");
}

TEST_F(WhyLost, BrokenThoughALaterBreakHasTakenItsPlaceInTheRecord) {
  hold();
  break_lock(name(), {});
  lock_process next(name());
  ASSERT_TRUE(next.acquire(0ns));
  break_lock(name(), {});
  EXPECT_EQ(after_renewal().cause, lost_cause::broken);
}

TEST_F(WhyLost, BrokenAndAcquiredAnewIsNotLost) {
  hold();
  break_lock(name(), {});
  std::error_code ec;
  ASSERT_TRUE(session_->acquire(0, {}, ec));
  EXPECT_EQ(session_->why_lost().cause, lost_cause::none);
}

TEST_F(WhyLost, DeletedRenamedAndReplaced) {
  for (const auto& happen :
       std::vector<std::function<void()>>{[&] { std::filesystem::remove(name()); },
                                          [&] { std::filesystem::rename(name(), name() + ".old"); },
                                          [&] {
                                            named_lock other(name() + ".new");
                                            std::filesystem::rename(name() + ".new", name());
                                          }}) {
    hold(1h);
    std::this_thread::sleep_for(another_tick);
    happen();
    lock_process next(name(), {.description = "in the new file"});
    ASSERT_TRUE(next.acquire(0ns));
    const auto l = after_release();
    EXPECT_EQ(l.cause, lost_cause::deleted);
    EXPECT_EQ(l.holder.value().command, "in the new file");
    session_.reset();
  }
}

TEST_F(WhyLost, LifelineClosed) {
  const int fd = hold().lifeline();
  std::this_thread::sleep_for(another_tick);
  ::close(fd);
  lock_process next(name());
  ASSERT_TRUE(next.acquire(0ns));
  EXPECT_EQ(after_renewal().cause, lost_cause::lifeline_closed);
}

TEST_F(WhyLost, TheSurroundingsOfAWaitNameTheHolderAndTheOthers) {
  lock_process holder(name(), {.description = "the holder"});
  lock_process waiter(name());
  lock_process second(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  queue(second);
  const auto found = open().look_around();
  EXPECT_EQ(found.holder.value().command, "the holder");
  EXPECT_EQ(found.waiters, 2U);
}

}  // namespace
}  // namespace lockbyfile
