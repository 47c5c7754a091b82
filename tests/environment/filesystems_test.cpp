// SPDX-License-Identifier: Apache-2.0
//
// The promises on every kind of local filesystem that this machine can mount.
#include "support/filesystems.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <vector>

#include "core/instant.hpp"
#include "file/layout.hpp"
#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Filesystem : public FilesystemTest {};

INSTANTIATE_TEST_SUITE_P(On, Filesystem,
                         ::testing::Values(tmpfs, ramfs, ext2, ext3, ext4, xfs, btrfs, overlayfs,
                                           bind_mount),
                         [](const auto& p) { return p.param.name; });

TEST_P(Filesystem, ProcessesExcludeEachOther) {  // P1
  in_it([&] {
    struct room {
      std::atomic<int> inside;
      std::atomic<int> violations;
    };
    const shared_memory<room> shared;
    std::list<child> processes;
    for (int i = 0; i < 4; ++i) {
      processes.emplace_back([&](talk& t) {
        named_lock lock(name());
        for (int round = 0; round < 200; ++round) {
          lock.lock();
          if (shared->inside.fetch_add(1) != 0) ++shared->violations;
          --shared->inside;
          lock.unlock();
        }
        t.say("done");
      });
    }
    for (auto& p : processes) p.expect("done");
    EXPECT_EQ(shared->violations, 0);
  });
}

TEST_P(Filesystem, AReleaseWakesAWaiter) {  // P6
  in_it([&] {
    lock_process holder(name());
    lock_process waiter(name());
    ASSERT_TRUE(holder.acquire(0ns));
    EXPECT_EQ(waiter.acquire(0ns).error, errc::timed_out);
    queue(waiter);
    EXPECT_EQ(holder.release(), std::error_code());
    EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::free);
  });
}

TEST_P(Filesystem, ADeathFreesTheLock) {  // P5
  in_it([&] {
    lock_process holder(name());
    lock_process waiter(name());
    const outcome first = holder.acquire(0ns);
    queue(waiter);
    holder.kill();
    const outcome second = waiter.end_acquire();
    EXPECT_EQ(second.granted.how, grant_kind::abandoned);
    EXPECT_GT(second.granted.token, first.granted.token);
  });
}

TEST_P(Filesystem, ALeaseThatRunsOutIsTakenOver) {  // P4, P5
  in_it([&] {
    lock_process holder(name(), {.lease = 30ms});
    lock_process waiter(name());
    const outcome first = holder.acquire(0ns);
    const outcome second = waiter.acquire(forever);
    EXPECT_EQ(second.granted.how, grant_kind::expired);
    EXPECT_GE(second.ended - first.begun, 30ms);
    EXPECT_GT(second.granted.token, first.granted.token);
    EXPECT_EQ(holder.renew(), errc::lease_lost);
    EXPECT_EQ(holder.release(), errc::lease_lost);
    EXPECT_TRUE(waiter.is_held());
  });
}

TEST_P(Filesystem, MoreSessionsMakeTheFileGrow) {
  in_it([&] {
    lock_process early(name());
    std::list<named_lock> sessions;
    for (std::uint32_t i = 0; i < 4 * file::first_capacity; ++i) sessions.emplace_back(name());
    struct stat s {};
    ASSERT_EQ(::stat(name().c_str(), &s), 0);
    EXPECT_GT(s.st_size, 4096);
    EXPECT_GE(s.st_blocks * 512, s.st_size) << "room that is not allocated is a SIGBUS later";
    for (auto& lock : sessions) {
      ASSERT_TRUE(lock.try_lock());
      lock.unlock();
    }
    ASSERT_TRUE(sessions.back().try_lock());
    EXPECT_EQ(early.acquire(0ns).error, errc::timed_out);
  });
}

TEST_P(Filesystem, ADeletedFileIsNoticed) {
  in_it([&] {
    lock_process holder(name());
    lock_process waiter(name());
    const outcome first = holder.acquire(0ns);
    queue(waiter);
    fs::remove(name());
    const outcome second = waiter.end_acquire();
    EXPECT_GT(second.granted.token, first.granted.token);
    EXPECT_FALSE(holder.is_held());
    EXPECT_EQ(holder.release(), errc::lease_lost);
    EXPECT_EQ(holder.acquire(0ns).error, errc::timed_out) << "both have the new file";
  });
}

TEST_P(Filesystem, TokensGrowOverTheDeletionOfAFileThatWasAheadOfTheClock) {  // P2
  in_it([&] {
    { const named_lock lock(name()); }
    const std::uint64_t ahead = put_ahead_of_the_clock(name(), 1h);
    const fencing_token last = named_lock(name()).acquire(0ns).token;
    EXPECT_GT(last.value(), ahead);
    fs::remove(name());
    EXPECT_GT(named_lock(name()).acquire(0ns).token, last);
  });
}

/// As `tar x` and `cp` do it, after which the file often has the inode's number that it had.
TEST_P(Filesystem, TokensGrowOverABackupThatIsUnpackedWhileNobodyHasTheFileOpen) {  // P2
  in_it([&] {
    { const named_lock made(name()); }
    const std::string backup = content_of(name());
    fencing_token last;
    for (int i = 0; i < 10; ++i) {
      for (int grants = 0; grants < 3; ++grants) {
        const fencing_token next = named_lock(name()).acquire(0ns).token;
        EXPECT_GT(next, last) << "after " << i << " backups and " << grants << " grants";
        last = next;
      }
      fs::remove(name());
      write_file(name(), backup);
    }
  });
}

TEST_P(Filesystem, OnlyWhatIsNotInUseIsRemovedOrPruned) {
  in_it([&] {
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    const std::string idle = directory() + "/idle.lockfile";
    { const named_lock lock(idle); }
    EXPECT_EQ(prune(directory()), std::vector{idle});
    std::error_code ec;
    lockbyfile::remove(name(), {}, ec);
    EXPECT_EQ(ec, errc::in_use);
    EXPECT_EQ(holder.release(), std::error_code());
    lockbyfile::remove(name());
    EXPECT_FALSE(fs::exists(name()));
    EXPECT_TRUE(holder.acquire(0ns)) << "in a new file";
    EXPECT_FALSE(named_lock(name()).try_lock());
  });
}

TEST_P(Filesystem, AFileHasExactlyTheModeAskedFor) {
  in_it([&] {
    ::umask(077);
    { const named_lock lock(name(), {.mode = 0664}); }
    EXPECT_EQ(mode_of(name()) & 07777, 0664U);
    EXPECT_EQ(fs::file_size(name()), 4096U);
    fs::remove(name());
    { const named_lock lock(name()); }
    EXPECT_EQ(mode_of(name()) & 07777, 0600U);
  });
}

class Overlay : public FilesystemTest {};

INSTANTIATE_TEST_SUITE_P(On, Overlay, ::testing::Values(overlayfs),
                         [](const auto& p) { return p.param.name; });

TEST_P(Overlay, AFileOfTheImageBelowIsOneLock) {  // docker build left one
  in_it([&] {
    const std::string below = lower() + "/bed.lockfile";
    fencing_token last;
    {
      named_lock builder(below);
      last = builder.acquire(0ns).token;
    }
    const std::string before = content_of(below);
    EXPECT_FALSE(look().holder);
    lock_process holder(name());
    lock_process waiter(name());
    const outcome first = holder.acquire(0ns);
    ASSERT_TRUE(first);
    EXPECT_GT(first.granted.token, last);
    EXPECT_EQ(look().holder->token, first.granted.token);
    queue(waiter);
    holder.kill();
    EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::abandoned);
    EXPECT_TRUE(waiter.is_held());
    EXPECT_EQ(content_of(below), before);
  });
}

}  // namespace
}  // namespace lockbyfile
