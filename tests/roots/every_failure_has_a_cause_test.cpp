// SPDX-License-Identifier: Apache-2.0
//
// Root 7: every loss and every failure has a cause, in C++ and in C, by exceptions, by codes and by
// threads of the library. The inputs are others than those that showed the faults.
#include <gtest/gtest.h>
#include <lockbyfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <thread>

#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

constexpr auto another_tick = 15ms;  // of the coarse clock, for the path to be looked at again

/// How a grant of `lock`, which waits for nobody, comes to be lost.
struct way {
  std::string name;
  lost_cause cause;
  std::chrono::nanoseconds lease;
  void (*lose)(named_lock& lock);
};

void be_late(named_lock& lock) {
  while (lock.lease_remaining() > 0ns) std::this_thread::sleep_for(1ms);
}
void be_broken(named_lock& lock) { break_lock(lock.path(), lock.token()); }
void be_moved_away(named_lock& lock) {
  std::this_thread::sleep_for(another_tick);
  std::filesystem::rename(lock.path(), lock.path() + ".aside");
}
void be_replaced_by_text(named_lock& lock) {
  std::this_thread::sleep_for(another_tick);
  std::filesystem::remove(lock.path());
  std::ofstream(lock.path()) << "";
}
void close_all(named_lock& lock) {
  std::this_thread::sleep_for(another_tick);
  // Past the C library: ThreadSanitizer would call it a race with the thread that looks.
  ::syscall(SYS_close, lock.native_handle());
}

const way ways[] = {{"Late", lost_cause::expired, 7ms, be_late},
                    {"BrokenByItsToken", lost_cause::broken, 1h, be_broken},
                    {"MovedAway", lost_cause::deleted, 1h, be_moved_away},
                    {"ReplacedByAnEmptyFile", lost_cause::deleted, no_lease, be_replaced_by_text},
                    {"DescriptorClosed", lost_cause::lifeline_closed, no_lease, close_all}};

class EveryFailure : public LockTest, public ::testing::WithParamInterface<way> {};

TEST_P(EveryFailure, OfAReleaseHasItsCauseByTheCode) {
  named_lock lock(name(), {.lease = GetParam().lease});
  lock.lock();
  GetParam().lose(lock);
  std::error_code ec;
  lock.release(ec);
  ASSERT_EQ(ec, errc::lease_lost);
  EXPECT_EQ(last_failure().code, ec);
  EXPECT_EQ(last_failure().cause, GetParam().cause);
  EXPECT_EQ(last_failure().path, lock.path());
  EXPECT_NE(last_failure().message.find("since"), std::string::npos) << last_failure().message;
}

/// All but the first: a keep_alive is there to prevent that.
class LossUnderKeepAlive : public EveryFailure {};

TEST_P(LossUnderKeepAlive, HasItsCauseInTheThreadThatTells) {
  named_lock lock(name(), {.lease = GetParam().lease});
  lock.lock();
  lock.set_lease(30ms);
  lock.renew();
  std::promise<lost_cause> first;
  std::promise<lost_cause> second;
  const keep_alive one(lock, [&](std::error_code) { first.set_value(last_failure().cause); });
  const keep_alive two(lock, [&](std::error_code) { second.set_value(last_failure().cause); });
  GetParam().lose(lock);
  EXPECT_EQ(first.get_future().get(), GetParam().cause);
  EXPECT_EQ(second.get_future().get(), GetParam().cause) << "they are independent (B28)";
}

INSTANTIATE_TEST_SUITE_P(Ways, EveryFailure, ::testing::ValuesIn(ways),
                         [](const auto& tested) { return tested.param.name; });

INSTANTIATE_TEST_SUITE_P(Ways, LossUnderKeepAlive,
                         ::testing::ValuesIn(std::begin(ways) + 1, std::end(ways)),
                         [](const auto& tested) { return tested.param.name; });

using FailureOfAWait = LockTest;

TEST_F(FailureOfAWait, NamesTheHolderTheTimeAndTheOthersInTheException) {
  lock_process holder(name(), {.description = "rsync"});
  lock_process waiter(name());
  ASSERT_TRUE(holder.acquire(0ns));
  queue(waiter);
  named_lock lock(name(), {.patience = 12ms});
  try {
    lock.lock();
    FAIL() << "there are two holders";
  } catch (const lock_error& e) {
    EXPECT_EQ(e.code(), errc::timed_out);
    EXPECT_EQ(e.holder().value().command, "rsync");
    EXPECT_GE(e.waited(), 12ms);
    EXPECT_EQ(e.waiters(), 1U);
    EXPECT_EQ(e.what(), e.details().message);
    EXPECT_EQ(last_failure().message, e.what());
    const std::string text = e.what();
    EXPECT_NE(text.find("rsync (pid "), std::string::npos) << text;
    EXPECT_NE(text.find("1 other waits"), std::string::npos) << text;
  }
}

TEST_F(FailureOfAWait, IsTheSameInC) {
  lock_process holder(name(), {.description = "tar"});
  ASSERT_TRUE(holder.acquire(0ns));
  lockbyfile_lock* lock = nullptr;
  ASSERT_EQ(lockbyfile_open(&lock, name().c_str(), nullptr), 0);
  ASSERT_EQ(lockbyfile_acquire(lock, 4'000'000, nullptr), LOCKBYFILE_TIMED_OUT);
  lockbyfile_failure f = LOCKBYFILE_FAILURE_INIT;
  ASSERT_EQ(lockbyfile_last_failure(&f), 0);
  EXPECT_EQ(f.error, LOCKBYFILE_TIMED_OUT);
  EXPECT_STREQ(f.command, "tar");
  EXPECT_GE(f.waited, 4'000'000);
  lockbyfile_free(lock);
}

TEST_F(FailureOfAWait, IsOfEachThreadItsOwn) {
  std::error_code ec;
  break_lock(directory() + "/none", {}, {}, ec);
  ASSERT_EQ(last_failure().code, errc::not_found);
  std::thread([] { EXPECT_FALSE(last_failure().code); }).join();
  EXPECT_EQ(last_failure().code, errc::not_found);
  EXPECT_THROW((void)list(directory() + "/none"), lock_error);
  EXPECT_EQ(last_failure().code, std::errc::no_such_file_or_directory);
  named_lock lock(name());
  lock.renew(ec);
  EXPECT_EQ(last_failure().code, errc::not_holder);
  EXPECT_THROW(lock.set_lease(-1ns), lock_error);
  EXPECT_EQ(last_failure().code, errc::invalid_option);
  EXPECT_THROW((void)keep_alive(lock), lock_error);
  EXPECT_EQ(last_failure().code, errc::not_holder);
}

}  // namespace
}  // namespace lockbyfile
