// SPDX-License-Identifier: Apache-2.0
//
// Options that cannot be used are refused at open, by name, and nothing is created.
#include <errno.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class Options : public LockTest {
 protected:
  void expect_refused(const lock_options& options) const {
    try {
      const named_lock lock(name(), options);
      ADD_FAILURE() << "accepted";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::invalid_option);
      EXPECT_EQ(error.code(), std::errc::invalid_argument);
      EXPECT_EQ(error.path(), name());
    }
    EXPECT_FALSE(std::filesystem::exists(name())) << "created although refused";
  }
};

// TORTURE 33

TEST_F(Options, ALeaseOfZeroOrLessIsRefused) {
  for (const auto lease : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
    SCOPED_TRACE(lease.count());
    expect_refused({.lease = lease});
  }
}

TEST_F(Options, ALeaseOfZeroOrLessIsRefusedLaterToo) {
  named_lock lock(name(), {.lease = 5s});
  for (const auto lease : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
    EXPECT_THROW(lock.set_lease(lease), lock_error);
  }
  EXPECT_EQ(lock.lease(), 5s) << "a refused lease must not be used";
}

TEST_F(Options, TheShortestLeaseIsANanosecond) {
  named_lock lock(name(), {.lease = 1ns});
  lock.lock();
  EXPECT_FALSE(lock.is_held()) << "it has run out by now";
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
}

TEST_F(Options, TheLongestLeasesDoNotWrap) {
  for (const auto lease : {no_lease, no_lease - 1ns, std::chrono::nanoseconds(24h * 365 * 100)}) {
    named_lock lock(name(), {.lease = lease});
    lock.lock();
    EXPECT_TRUE(lock.is_held());
    EXPECT_GT(lock.lease_remaining(), 24h * 365 * 99);
    named_lock other(name());
    EXPECT_FALSE(other.try_lock()) << "taken over from a lease of " << lease.count() << " ns";
  }
}

TEST_F(Options, ThePatienceMayBeAnything) {
  named_lock holder(name());
  holder.lock();
  for (const auto patience : {0ns, -1ns, std::chrono::nanoseconds::min(), 1ns}) {
    named_lock lock(name(), {.patience = patience});
    try {
      lock.lock();
      ADD_FAILURE() << "two holders";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::timed_out);
      EXPECT_EQ(error.code(), std::errc::timed_out);
    }
  }
}

// TORTURE 16

TEST_F(Options, ModesThatTheOwnerCannotUseAreRefused) {
  for (const unsigned mode : {0U, 0400U, 0200U, 0066U, 0477U}) {
    SCOPED_TRACE(mode);
    expect_refused({.mode = mode});
  }
}

TEST_F(Options, BitsThatAreNoPermissionsAreRefused) {
  for (const unsigned mode : {04600U, 02600U, 01600U, 0100600U, ~0U}) {
    SCOPED_TRACE(mode);
    expect_refused({.mode = mode});
  }
}

TEST_F(Options, ALongDescriptionIsCut) {
  named_lock lock(name(), {.description = std::string(1000, 'x')});
  lock.lock();
  const auto state = look();
  ASSERT_TRUE(state.holder);
  EXPECT_EQ(state.holder->who.command, std::string(47, 'x'));
}

TEST_F(Options, TheDescriptionIsTheProgramsShortNameByDefault) {
  named_lock lock(name());
  lock.lock();
  const auto state = look();
  ASSERT_TRUE(state.holder);
  EXPECT_EQ(state.holder->who.command, std::string(program_invocation_short_name).substr(0, 47));
}

}  // namespace
}  // namespace lockbyfile
