// SPDX-License-Identifier: Apache-2.0
//
// Lockfiles that somebody deletes, renames or replaces behind everybody's back. That is a
// break: the holder learns of it, and everybody moves to the path's next file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// A way to replace or remove the file while sessions have it open.
struct way {
  std::string name;
  std::function<void(const std::string& path)> happen;
  friend std::ostream& operator<<(std::ostream& out, const way& w) { return out << w.name; }
};

// TORTURE 9, 10
const way ways[] = {
    {"Deleted", [](const std::string& path) { fs::remove(path); }},
    {"RenamedAside", [](const std::string& path) { fs::rename(path, path + ".aside"); }},
    {"DeletedAndMadeAnew",
     [](const std::string& path) {
       fs::remove(path);
       const named_lock made(path);
     }},
    {"RenamedAsideAndMadeAnew",
     [](const std::string& path) {
       fs::rename(path, path + ".aside");
       const named_lock made(path);
     }},
    {"ReplacedByAnotherLockfile",
     [](const std::string& path) {
       { const named_lock made(path + ".other"); }
       fs::rename(path + ".other", path);
     }},
    {"ReplacedByAnEmptyFile",
     [](const std::string& path) {
       write_file(path + ".other", "");
       fs::rename(path + ".other", path);
     }},
    {"ReplacedByACopy",  // with the very same bytes, even those of the holder
     [](const std::string& path) {
       fs::copy_file(path, path + ".other");
       fs::rename(path + ".other", path);
     }},
};

class Replaced : public LockTest, public ::testing::WithParamInterface<way> {
 protected:
  void happen() const {
    GetParam().happen(name());
    outlive_the_last_look_at_the_path();
  }
};

TEST_P(Replaced, AHolderIsToldByIsHeld) {
  named_lock holder(name());
  holder.lock();
  ASSERT_TRUE(holder.is_held());
  happen();
  EXPECT_FALSE(holder.is_held());
}

TEST_P(Replaced, AHolderIsToldByRenew) {
  named_lock holder(name(), {.lease = 1h});
  holder.lock();
  happen();
  std::error_code ec;
  holder.renew(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  EXPECT_FALSE(holder.is_held());
}

TEST_P(Replaced, AHolderIsToldByRelease) {
  named_lock holder(name());
  holder.lock();
  happen();
  std::error_code ec;
  holder.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  holder.release(ec);
  EXPECT_EQ(ec, errc::not_holder);
}

TEST_P(Replaced, AHolderIsToldByItsKeepAlive) {
  named_lock holder(name(), {.lease = 30ms});
  holder.lock();
  std::atomic<int> told = 0;
  const keep_alive kept(holder, [&](std::error_code ec) {
    EXPECT_EQ(ec, errc::lease_lost);
    ++told;
  });
  happen();
  EXPECT_TRUE(eventually([&] { return told == 1; }));
}

TEST_P(Replaced, ALeaseThatIsLostDoesNotDisturbItsSuccessor) {  // P4
  named_lock holder(name());
  holder.lock();
  happen();
  named_lock successor(name());
  ASSERT_TRUE(successor.try_lock_for(1min));
  EXPECT_GT(successor.token(), holder.token()) << "P2";
  std::error_code ec;
  holder.renew(ec);
  holder.release(ec);
  { const named_lock gone = std::move(holder); }
  EXPECT_TRUE(successor.is_held());
  successor.release(ec);
  EXPECT_FALSE(ec);
}

TEST_P(Replaced, AnIdleSessionMovesToTheNewFile) {
  named_lock idle(name());
  const fencing_token last = idle.acquire(0ns).token;
  idle.unlock();
  happen();
  ASSERT_TRUE(idle.try_lock());
  EXPECT_GT(idle.token(), last);
  lock_process other(name());
  EXPECT_EQ(other.acquire(0ns).error, errc::timed_out) << "a split";
  idle.unlock();
  EXPECT_TRUE(other.acquire(0ns));
}

TEST_P(Replaced, WaitersMoveToTheNewFileAndMeetThere) {
  lock_process holder(name());
  const outcome lost = holder.acquire(0ns);
  ASSERT_TRUE(lost);
  std::list<lock_process> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back(name());
    queue(waiters.back());
  }
  happen();
  waiters.emplace_back(name());  // and one that comes later
  waiters.back().begin_acquire(forever);

  fencing_token last = lost.granted.token;
  while (!waiters.empty()) {
    // Each looks at its turn, without being woken: the old file's holder still sits there.
    unsigned pid = 0;
    ASSERT_TRUE(eventually([&] {
      std::error_code gone_for_a_moment;
      const auto state = observe(name(), {}, gone_for_a_moment);
      pid = state && state->holder && state->holder->alive ? state->holder->who.pid : 0;
      return pid != 0;
    }));
    const auto next =
        std::find_if(waiters.begin(), waiters.end(), [&](const auto& w) { return w.pid() == pid; });
    ASSERT_NE(next, waiters.end());
    const outcome o = next->end_acquire();
    ASSERT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last) << "P2";
    last = o.granted.token;
    EXPECT_TRUE(next->is_held());
    EXPECT_FALSE(holder.is_held());
    ASSERT_EQ(next->release(), std::error_code());
    waiters.erase(next);
  }
  EXPECT_EQ(holder.release(), errc::lease_lost);
  const outcome again = holder.acquire(1min);
  ASSERT_TRUE(again) << again;
  EXPECT_GT(again.granted.token, last);
}

TEST_P(Replaced, TheDeathOfTheOldHolderChangesNothing) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  happen();
  named_lock successor(name());
  ASSERT_TRUE(successor.try_lock_for(1min));
  holder.kill();
  EXPECT_TRUE(successor.is_held());
  named_lock third(name());
  EXPECT_FALSE(third.try_lock());
}

INSTANTIATE_TEST_SUITE_P(Ways, Replaced, ::testing::ValuesIn(ways),
                         [](const auto& p) { return p.param.name; });

// By what is no lockfile

/// What a path can lead to that no lock can live in. It is made aside.
const way foreign[] = {
    {"TextFile", [](const std::string& path) { write_file(path, "Dear diary\n"); }},
    {"Directory", [](const std::string& path) { fs::create_directory(path); }},
    {"SymbolicLink",  // which leads to the lockfile, once they have changed places
     [](const std::string& path) { fs::create_symlink(path, path); }},
    {"Fifo", [](const std::string& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); }},
};

class ReplacedByForeign : public LockTest, public ::testing::WithParamInterface<way> {
 protected:
  void happen() const {
    const std::string aside = name() + ".aside";
    GetParam().happen(aside);
    // At once: a waiter that finds nothing there, or an empty file, makes a lockfile of it.
    ASSERT_EQ(::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, name().c_str(), RENAME_EXCHANGE), 0);
    outlive_the_last_look_at_the_path();
  }
};

TEST_P(ReplacedByForeign, AHolderIsToldAndUsersGetAClearError) {
  named_lock holder(name());
  holder.lock();
  lock_process waiter(name());
  queue(waiter);
  happen();
  EXPECT_FALSE(holder.is_held());
  std::error_code ec;
  holder.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);

  EXPECT_EQ(waiter.end_acquire().error, errc::wrong_engine);
  try {
    (void)holder.acquire(0ns);
    ADD_FAILURE() << "holds what?";
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), errc::wrong_engine);
    EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
  }
  EXPECT_FALSE(holder.is_held());
  EXPECT_EQ(holder.lease_remaining(), 0ns);
  EXPECT_EQ(holder.native_handle(), -1);
}

TEST_P(ReplacedByForeign, SessionsWorkAgainWhenItIsGone) {
  named_lock first(name());
  named_lock second(name());
  const fencing_token last = first.acquire(0ns).token;
  first.unlock();
  happen();
  std::error_code ec;
  EXPECT_FALSE(first.acquire(0ns, {}, ec));
  EXPECT_EQ(ec, errc::wrong_engine);
  EXPECT_FALSE(second.acquire(0ns, {}, ec));
  fs::remove(name());

  ASSERT_TRUE(first.try_lock());
  EXPECT_GT(first.token(), last);
  EXPECT_FALSE(second.try_lock());
  first.unlock();
  EXPECT_TRUE(second.try_lock());
}

INSTANTIATE_TEST_SUITE_P(Kinds, ReplacedByForeign, ::testing::ValuesIn(foreign),
                         [](const auto& p) { return p.param.name; });

using ReplacedWhileOpening = LockTest;

/// A session that has been granted the lock before goes to the path's next file, which is
/// replaced in turn before it has a place there. Later it would be noticed within 1 ms.
TEST_F(ReplacedWhileOpening, IsNoticedBeforeTheGrant) {  // lockfile.hpp, F2
  const std::function<void(const std::string&)> removals[] = {
      [](const std::string& path) { fs::remove(path); },
      [](const std::string& path) { lockbyfile::remove(path); },
  };
  for (const auto& removal : removals) {
    bool reached = true;
    for (int step = 1; reached; ++step) {
      SCOPED_TRACE(step);
      ASSERT_LT(step, 50);
      reached = false;
      named_lock lock(name());
      lock.lock();
      lock.unlock();
      fs::remove(name());
      { const named_lock made(name()); }
      child rival([&](talk& t) {
        t.expect("go");
        removal(name());
        named_lock next(name());
        next.lock();
        t.say("held");
        t.expect("end");
      });
      outlive_the_last_look_at_the_path();
      bool granted = false;
      {
        int calls = 0;
        const seam meddling([&](std::string_view call) {
          if (call == "fcntl_lock" && ++calls == step) {  // the claim of a place
            reached = true;
            rival.say("go");
            rival.expect("held");
          }
          return 0;
        });
        granted = lock.try_lock();
      }
      EXPECT_EQ(granted, !reached) << "two locks of one name";
      fs::remove(name());
    }
  }
}

using Deleted = LockTest;

TEST_F(Deleted, TheDirectoryGoneIsAClearError) {  // TORTURE 9: systemd-tmpfiles
  const std::string inside = directory() + "/sub/bed.lockfile";
  fs::create_directory(directory() + "/sub");
  named_lock lock(inside);
  lock.lock();
  lock_process waiter(inside);
  waiter.begin_acquire(forever);
  ASSERT_TRUE(eventually([&] { return observe(inside).waiters.size() == 1; }));
  fs::rename(directory() + "/sub", directory() + "/gone");  // at once, the file in it, too
  fs::remove_all(directory() + "/gone");
  outlive_the_last_look_at_the_path();

  EXPECT_EQ(waiter.end_acquire().error, std::errc::no_such_file_or_directory);
  EXPECT_FALSE(lock.is_held());
  try {
    (void)lock.acquire(0ns);
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
    EXPECT_NE(std::string(error.what()).find(inside), std::string::npos) << error.what();
  }
  fs::create_directory(directory() + "/sub");
  EXPECT_TRUE(lock.try_lock()) << "and the next try works";
}

TEST_F(Deleted, AFileWithTheSameTimesAndMaybeTheSameInodeIsAnotherFile) {  // TORTURE 5
  for (int round = 0; round < 20; ++round) {
    named_lock old(name());
    old.lock();
    struct stat was {};
    ASSERT_EQ(::stat(name().c_str(), &was), 0);
    fs::remove(name());
    { const named_lock made(name()); }
    const struct timespec times[] = {was.st_atim, was.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, name().c_str(), times, 0), 0);
    outlive_the_last_look_at_the_path();
    EXPECT_FALSE(old.is_held()) << "its inode is not free as long as it is open";
    std::error_code ec;
    old.release(ec);
    EXPECT_EQ(ec, errc::lease_lost);
    fs::remove(name());
  }
}

TEST_F(Deleted, ABrokenLockIsNoticedLikeADeletedOne) {
  named_lock holder(name());
  holder.lock();
  lock_process waiter(name());
  queue(waiter);
  break_lock(name(), holder.token());
  const outcome o = waiter.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::broken);
  EXPECT_FALSE(holder.is_held());
  std::error_code ec;
  holder.renew(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  holder.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  EXPECT_TRUE(waiter.is_held());
}

}  // namespace
}  // namespace lockbyfile
