// SPDX-License-Identifier: Apache-2.0
//
// Promise P2: tokens grow, whatever happens to the file and to the wall clock
// (src/file/tokens.hpp, T1 to T3).
#include "file/tokens.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/instant.hpp"
#include "file/word.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// No mark can be made or opened, as in a directory of another user.
class no_marks {
 public:
  no_marks() {
    real = std::exchange(sys.open, [](const char* path, int flags, mode_t mode) {
      if (std::string_view(path).ends_with(".tokens") && (flags & O_CREAT) != 0) {
        errno = EACCES;
        return -1;
      }
      return real(path, flags, mode);
    });
  }
  ~no_marks() { sys.open = real; }
  no_marks(const no_marks&) = delete;
  no_marks& operator=(const no_marks&) = delete;

 private:
  static inline int (*real)(const char*, int, mode_t) = nullptr;
};

class Tokens : public LockTest {
 protected:
  [[nodiscard]] std::string mark() const { return name() + ".tokens"; }

  /// The largest line (docs/file-format.md).
  [[nodiscard]] std::uint64_t marked() const {
    std::istringstream lines(content_of(mark()));
    std::uint64_t largest = 0;
    for (std::uint64_t line = 0; lines >> line;) largest = std::max(largest, line);
    return largest;
  }

  /// Acquires and releases until a token is ahead of the wall clock.
  /// As many short grants would; that they do is TokensSlow.
  fencing_token go_ahead_of_the_clock(named_lock& lock) const {
    lock.lock();
    lock.unlock();
    ::put_ahead_of_the_clock(name(), 1s);
    lock.lock();
    lock.unlock();
    return lock.token();
  }

  /// One grant of a session of its own.
  [[nodiscard]] fencing_token next_token() const {
    named_lock lock(name());
    return lock.acquire(0ns).token;
  }

  /// The counter as it would be after `ahead` more transitions than the clock.
  void put_ahead_of_the_clock(std::chrono::microseconds ahead) const {
    { const named_lock lock(name()); }
    ::put_ahead_of_the_clock(name(), ahead);
  }
};

TEST_F(Tokens, GrowFromGrantToGrantAndAcrossSessions) {
  fencing_token last;
  for (int session = 0; session < 5; ++session) {
    named_lock lock(name());
    for (int i = 0; i < 100; ++i) {
      const grant g = lock.acquire(0ns);
      ASSERT_GT(g.token, last);
      last = g.token;
      if (i % 3 == 0) lock.renew();
      EXPECT_EQ(lock.token(), g.token) << "a renewal keeps the token";
      lock.unlock();
    }
  }
}

TEST_F(Tokens, StartAtTheMicrosecondsOfTheWallClock) {  // DESIGN 4
  const auto before = wall_clock_us();
  const fencing_token first = next_token();
  EXPECT_GT(first.value(), before);
  EXPECT_LE(first.value(), wall_clock_us() + 10);
}

TEST_F(Tokens, GrowAcrossADeletedFile) {  // TORTURE 9
  const fencing_token last = next_token();
  fs::remove(name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, GrowAcrossADeletedFileThatWasAheadOfTheClock) {
  fencing_token last;
  {
    named_lock lock(name());
    last = go_ahead_of_the_clock(lock);
  }
  ASSERT_TRUE(fs::exists(mark())) << "nothing can remember them";
  fs::remove(name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, GrowAcrossARemovedFileThatWasAheadOfTheClock) {
  named_lock lock(name());
  const fencing_token last = go_ahead_of_the_clock(lock);
  lockbyfile::remove(name());
  EXPECT_GT(next_token(), last);

  const fencing_token more = go_ahead_of_the_clock(lock);
  { const named_lock gone = std::move(lock); }
  prune(directory());
  ASSERT_FALSE(fs::exists(name()));
  EXPECT_GT(next_token(), more);
}

TEST_F(Tokens, OfALockThatKeepsUpWithTheClockCostNoSystemCallEach) {
  constexpr int grants = 100'000;
  named_lock lock(name());
  int calls = 0;
  const seam counting([&](std::string_view call) {
    if (!call.ends_with("clock_gettime")) ++calls;
    return 0;
  });
  for (int i = 0; i < grants; ++i) {
    lock.lock();
    lock.unlock();
  }
  EXPECT_LT(calls, grants / 10) << "the path is looked at once per tick, no more";
}

using TokensSlow = Tokens;

TEST_F(TokensSlow, OfALockThatIsHammeredRunAheadOfTheClockAndGrowAcrossADeletedFile) {
  fencing_token last;
  {
    named_lock lock(name());
    do {
      for (int i = 0; i < 10'000; ++i) {
        lock.lock();
        lock.unlock();
      }
      last = lock.token();
    } while (last.value() < wall_clock_us() + 10'000);
  }
  fs::remove(name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, GrowForASessionThatMovesToANewFile) {  // S5
  named_lock lock(name());
  for (int generation = 0; generation < 3; ++generation) {
    const fencing_token last = go_ahead_of_the_clock(lock);
    fs::remove(name());
    fs::remove(mark());  // even so: the session itself remembers
    outlive_the_last_look_at_the_path();
    lock.lock();
    EXPECT_GT(lock.token(), last);
    lock.unlock();
  }
}

TEST_F(Tokens, AreNotGivenTwiceIfTheFileIsReplacedWhileTheyAreMarked) {  // S7
  put_ahead_of_the_clock(1min);
  (void)next_token();
  fs::remove(name());
  child other([this](talk& t) {
    t.expect("replace");
    fs::remove(name());
    named_lock successor(name());
    t.say("replaced");
    t.expect("acquire");
    t.say(std::to_string(successor.acquire(0ns).token.value()));
  });
  named_lock lock(name());
  bool is_replaced = false;
  fencing_token token;
  {
    const seam meanwhile([&](std::string_view call) {
      if (call == "write" && !std::exchange(is_replaced, true)) {
        other.say("replace");
        other.expect("replaced");
      }
      return 0;
    });
    token = lock.acquire(0ns).token;
  }
  ASSERT_TRUE(is_replaced) << "no mark was written";
  lock.unlock();
  other.say("acquire");
  EXPECT_GT(std::stoull(other.hear()), token.value());
}

TEST_F(Tokens, StayAtOrBelowTheMarkOrTheClock) {  // T1
  named_lock lock(name());
  for (int i = 0; i < 50'000; ++i) {
    lock.lock();
    lock.unlock();
  }
  const fencing_token last = lock.token();
  if (last.value() > wall_clock_us()) {
    EXPECT_LE(last.value(), marked());
  }
}

// Files that come from elsewhere (T4), and clocks (T5)

TEST_F(Tokens, GrowWhenAnOlderLockfileIsMovedOverOneInUse) {
  const std::string older = directory() + "/older.lockfile";
  (void)named_lock(older).acquire(0ns);
  lock_process holder(name());
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  fs::rename(older, name());
  EXPECT_GT(next_token(), held.granted.token);
}

TEST_F(Tokens, GrowWhenALockfileOfThatNameIsMovedHereFromAnotherDirectory) {
  fs::create_directory(directory() + "/other");
  const std::string older = directory() + "/other/bed.lockfile";
  (void)named_lock(older).acquire(0ns);
  const fencing_token last = next_token();
  fs::rename(older, name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, GrowWhenABackupIsMovedOverALockfileInUse) {
  (void)next_token();
  fs::copy_file(name(), name() + ".backup");
  lock_process holder(name());
  fencing_token last;
  for (int i = 0; i < 10; ++i) {
    last = holder.acquire(0ns).granted.token;
    holder.release();
  }
  ASSERT_TRUE(holder.acquire(0ns));
  fs::rename(name() + ".backup", name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, GrowWhenALockfileIsMovedAsideAndBack) {
  named_lock lock(name());
  lock.lock();
  fs::rename(name(), name() + ".aside");
  outlive_the_last_look_at_the_path();
  std::error_code ec;
  lock.release(ec);
  ASSERT_EQ(ec, errc::lease_lost);
  const fencing_token last = next_token();  // of the path's next file
  fs::rename(name() + ".aside", name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, OfAFileFromElsewhereThatIsHeldGrowForWhoeverTakesItOver) {
  const std::string older = directory() + "/older.lockfile";
  lock_process holder(older);
  ASSERT_TRUE(holder.acquire(0ns));
  const fencing_token last = next_token();
  fs::rename(older, name());
  named_lock waiter(name());
  EXPECT_FALSE(waiter.try_lock()) << "its holder lives";
  holder.kill();
  EXPECT_GT(waiter.acquire(1min).token, last);
}

TEST_F(Tokens, OfAFileThatStaysWhereItIsDoNotJump) {
  const fencing_token first = next_token();
  std::this_thread::sleep_for(20ms);
  EXPECT_LT(next_token().value(), first.value() + 10) << "and so seldom run ahead of the clock";
}

TEST_F(Tokens, GrowWhenTheClockIsSetBackAfterARemoval) {
  for (const bool by_hand : {true, false}) {
    const fencing_token last = next_token();
    by_hand ? (void)fs::remove(name()) : lockbyfile::remove(name());
    shifted_clocks clocks;
    shifted_clocks::wall() = -std::chrono::nanoseconds(1h).count();
    EXPECT_GT(next_token(), last) << by_hand;
    fs::remove(name());
    fs::remove(mark());
  }
}

TEST_F(Tokens, WorkOnABoardThatBootsIn1970) {
  shifted_clocks clocks;
  const auto since_1970 = static_cast<std::int64_t>(wall_clock_us()) * 1000;
  shifted_clocks::wall() = -since_1970 + std::chrono::nanoseconds(5s).count();
  const fencing_token first = next_token();
  EXPECT_GT(next_token(), first);
  shifted_clocks::wall() = 0;
  EXPECT_GT(next_token(), first) << "and when it has learned the time";
}

TEST_F(Tokens, AreRefusedByAClockPast2112ThatCannotBeCounted) {
  const fencing_token last = next_token();
  shifted_clocks clocks;
  shifted_clocks::wall() = std::chrono::nanoseconds(24h * 365 * 90).count();
  EXPECT_GT(next_token(), last) << "a file that is there counts on";
  try {
    const named_lock made(name() + "2");
    ADD_FAILURE() << "its counter would start again at 0";
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), errc::clock_mismatch) << error.what();
    EXPECT_NE(std::string(error.what()).find("2112"), std::string::npos) << error.what();
  }
}

// The mark

TEST_F(Tokens, LeaveNoMarkAsLongAsTheClockIsAhead) {
  { const named_lock lock(name()); }
  for (int i = 0; i < 20; ++i) (void)next_token();
  EXPECT_FALSE(fs::exists(mark())) << "most locks never need one";
}

TEST_F(Tokens, AreMarkedInLinesOfText) {
  put_ahead_of_the_clock(1h);
  const fencing_token token = next_token();
  const std::string text = content_of(mark());
  ASSERT_EQ(text.size(), 17U) << "docs/file-format.md: 16 digits and a newline";
  EXPECT_EQ(text.find_first_not_of("0123456789"), 16U);
  EXPECT_EQ(text[16], '\n');
  EXPECT_GE(marked(), token.value());

  put_ahead_of_the_clock(2h);
  EXPECT_GE(next_token(), fencing_token(token.value() + 3'000'000'000));
  EXPECT_TRUE(content_of(mark()).starts_with(text)) << "a mark is raised, never rewritten";
  EXPECT_GE(marked(), next_token().value());
}

TEST_F(Tokens, AreKeptByTheLargestLineOfTheMark) {  // two may raise it at once, in any order
  write_file(mark(), "0000000000000005\n4000000000000000\n0000000000000007\n");
  EXPECT_GT(next_token().value(), 4'000'000'000'000'000U);
}

TEST_F(Tokens, MarkHasTheModeOfTheLockfile) {  // TORTURE 16
  for (const unsigned mode : {0600U, 0640U, 0666U}) {
    { const named_lock lock(name(), {.mode = mode}); }
    put_ahead_of_the_clock(1h);
    (void)next_token();
    struct stat s {};
    ASSERT_EQ(::stat(mark().c_str(), &s), 0);
    EXPECT_EQ(s.st_mode & 07777, mode);
    fs::remove(name());
    fs::remove(mark());
  }
}

TEST_F(Tokens, AMarkOutlivesRemovalUntilTheClockHasPassedIt) {
  put_ahead_of_the_clock(1h);
  (void)next_token();
  lockbyfile::remove(name());
  EXPECT_TRUE(fs::exists(mark()));
  prune(directory());
  EXPECT_TRUE(fs::exists(mark())) << "tokens would shrink";

  shifted_clocks clocks;
  shifted_clocks::wall() = std::chrono::nanoseconds(2h).count();
  prune(directory());
  EXPECT_FALSE(fs::exists(mark())) << "a mark that nobody needs any more";
}

TEST_F(Tokens, AMarkInUseIsNotPruned) {
  put_ahead_of_the_clock(1h);
  const named_lock user(name());
  (void)next_token();
  shifted_clocks clocks;
  shifted_clocks::wall() = std::chrono::nanoseconds(2h).count();
  prune(directory());
  EXPECT_TRUE(fs::exists(mark()));
}

TEST_F(Tokens, PruneLeavesForeignFilesOfThatNameAlone) {  // P10
  const std::string notes = directory() + "/my.tokens";
  write_file(notes, "not a number\n");
  fs::create_directory(directory() + "/dir.tokens");
  fs::create_symlink(notes, directory() + "/link.tokens");
  prune(directory());
  EXPECT_TRUE(fs::exists(notes));
  EXPECT_TRUE(fs::exists(directory() + "/dir.tokens"));
  EXPECT_TRUE(fs::is_symlink(directory() + "/link.tokens"));
}

TEST_F(Tokens, AnEmptyMarkIsNone) {  // its writer was killed before it wrote
  write_file(mark(), "");
  EXPECT_GT(next_token().value(), 0U);
  put_ahead_of_the_clock(1h);
  const fencing_token last = next_token();
  EXPECT_GE(marked(), last.value());
}

TEST_F(Tokens, AnUnreadableMarkIsAnErrorNotAReset) {  // P10
  for (const std::string content :
       {"garbage", "\n", "12", "-1\n", "9999999999999999\n", "18446744073709551616\n", " 5\n",
        "0x10\n", "1790000000000000 \n"}) {
    write_file(mark(), content);
    try {
      const named_lock lock(name());
      ADD_FAILURE() << "started anew in spite of the mark \"" << content << '"';
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::damaged);
      EXPECT_NE(std::string(error.what()).find(mark()), std::string::npos) << error.what();
    }
    EXPECT_EQ(content_of(mark()), content) << "evidence destroyed";
  }
  fs::remove(mark());
  EXPECT_GT(next_token().value(), 0U) << "somebody has settled it";
}

TEST_F(Tokens, AMarkThatIsNoFileIsAnErrorAndNotFollowed) {  // TORTURE 11
  const std::string target = directory() + "/target";
  const auto expect_refused = [&](const std::string& what) {
    SCOPED_TRACE(what);
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name(), {}, ec));
    EXPECT_TRUE(ec);

    // And when it appears later, under a lock that needs it.
    fs::rename(mark(), mark() + ".aside");
    put_ahead_of_the_clock(1h);
    named_lock lock(name());
    fs::rename(mark() + ".aside", mark());
    EXPECT_FALSE(lock.acquire(0ns, {}, ec)) << "a token that nobody remembers";
    EXPECT_TRUE(ec);
    EXPECT_FALSE(look().holder);
    fs::remove(name());
    fs::remove(mark());
  };
  write_file(target, "0000000000000001\n");
  fs::create_symlink(target, mark());
  expect_refused("a symbolic link");
  EXPECT_EQ(content_of(target), "0000000000000001\n");
  fs::create_symlink(directory() + "/nowhere", mark());
  expect_refused("a dangling symbolic link");
  EXPECT_FALSE(fs::exists(directory() + "/nowhere"));
  fs::create_directory(mark());
  expect_refused("a directory");
  ASSERT_EQ(::mkfifo(mark().c_str(), 0600), 0);
  expect_refused("a FIFO");
}

TEST_F(Tokens, AreRefusedWhereTheyCannotBeRememberedForLong) {
  const no_marks unwritable;
  put_ahead_of_the_clock(1h);
  named_lock lock(name());
  try {
    (void)lock.acquire(0ns);
    ADD_FAILURE() << "a token that nobody remembers";
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), std::errc::permission_denied);
    EXPECT_NE(std::string(error.what()).find(mark()), std::string::npos) << error.what();
  }
  EXPECT_FALSE(look().holder) << "an error, and yet something is held";
}

TEST_F(Tokens, AreSlowedWhereTheyCannotBeRemembered) {
  const no_marks unwritable;
  named_lock lock(name());
  fencing_token last;
  for (int i = 0; i < 20'000; ++i) {
    lock.lock();
    ASSERT_GT(lock.token(), last);
    last = lock.token();
    ASSERT_LE(last.value(), wall_clock_us()) << "T1";
    lock.unlock();
  }
  EXPECT_FALSE(fs::exists(mark()));
  { const named_lock gone = std::move(lock); }
  fs::remove(name());
  EXPECT_GT(next_token(), last);
}

TEST_F(Tokens, AreSlowedForAUserWhoMayNotWriteTheDirectory) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  fs::permissions(directory(), fs::perms(0755));
  { const named_lock lock(name(), {.mode = 0666}); }
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    named_lock lock(name());
    fencing_token last;
    for (int i = 0; i < 5'000; ++i) {
      lock.lock();
      ASSERT_GT(lock.token(), last);
      last = lock.token();
      ASSERT_LE(last.value(), wall_clock_us());
      lock.unlock();
    }
  }));
  EXPECT_FALSE(fs::exists(mark()));
}

TEST_F(Tokens, AFailedMarkLeavesNothingOpen) {  // TORTURE 19
  put_ahead_of_the_clock(1h);
  named_lock lock(name());
  for (const char* call : {"open", "fstat", "fcntl_lock", "pread", "write"}) {
    const seam failing([&](std::string_view c) { return c == call ? EIO : 0; });
    std::error_code ec;
    EXPECT_FALSE(lock.acquire(0ns, {}, ec)) << call;
    EXPECT_TRUE(ec) << call;
    EXPECT_FALSE(lock.is_held());
  }
  EXPECT_TRUE(lock.try_lock()) << "the next try works";
}

// TORTURE 30, P2: the wall clock is set

TEST_F(Tokens, GrowWhenTheWallClockIsSetBack) {
  fencing_token last = next_token();
  shifted_clocks clocks;
  for (int i = 0; i < 3; ++i) {
    shifted_clocks::wall() -= std::chrono::nanoseconds(24h * 365).count();
    const fencing_token next = next_token();
    EXPECT_GT(next, last);
    last = next;
  }
}

TEST_F(Tokens, GrowWhenTheWallClockIsSetBackAndTheFileIsDeletedAfterAGrant) {
  fencing_token last = next_token();
  shifted_clocks clocks;
  for (int i = 0; i < 3; ++i) {
    shifted_clocks::wall() -= std::chrono::nanoseconds(24h).count();
    const fencing_token next = next_token();
    EXPECT_GT(next, last);
    fs::remove(name());
    last = next_token();
    EXPECT_GT(last, next);
  }
}

TEST_F(Tokens, GrowWhenTheWallClockIsSetBackUnderAnOpenSession) {
  named_lock lock(name());
  lock.lock();
  fencing_token last = lock.token();
  lock.unlock();
  shifted_clocks clocks;
  shifted_clocks::wall() = -std::chrono::nanoseconds(1h).count();
  for (int i = 0; i < 100; ++i) {
    lock.lock();
    ASSERT_GT(lock.token(), last);
    last = lock.token();
    lock.unlock();
  }
}

TEST_F(Tokens, GrowWhenTheWallClockIsSetForwardAndBackAgain) {
  fencing_token last = next_token();
  {
    shifted_clocks clocks;
    shifted_clocks::wall() = std::chrono::nanoseconds(24h * 365 * 20).count();
    fs::remove(name());
    const fencing_token far = next_token();
    EXPECT_GT(far, last);
    last = far;
  }
  EXPECT_GT(next_token(), last);
}

/// Found by fuzzing: a free one was noticed, one that is held by the dead was taken over.
TEST_F(Tokens, GrowForASessionWhoseFileIsOverwrittenByAnOlderOneThatIsHeld) {
  named_lock lock(name());
  lock.lock();
  const mapped_lockfile bytes(name());
  const auto older = bytes.word();
  lock.unlock();
  lock.lock();
  const fencing_token last = lock.token();
  lock.unlock();
  bytes->header.word.store(older.bits());
  const grant got = lock.acquire(1s);
  EXPECT_EQ(got.how, grant_kind::abandoned);
  EXPECT_GT(got.token, last);
}

// P10: a counter that somebody wrote into the file

TEST_F(Tokens, NearTheirEndDoNotWrap) {
  for (const std::uint64_t from_the_end : {1U, 3U, 100U, 1U << 30}) {
    { const named_lock lock(name()); }
    mapped_lockfile(name())->header.word.store(
        file::word::free_at(file::word::counter_end - from_the_end).bits());
    named_lock lock(name());
    fencing_token last;
    for (int i = 0; i < 10; ++i) {
      std::error_code ec;
      if (!lock.acquire(0ns, {}, ec)) {
        EXPECT_TRUE(ec);
        continue;
      }
      EXPECT_GT(lock.token(), last);
      EXPECT_LT(lock.token().value(), std::uint64_t{1} << 52);
      last = lock.token();
      lock.unlock();
    }
    fs::remove(name());
    fs::remove(mark());
  }
}

TEST_F(Tokens, NearTheirEndAreAClearErrorUntilAnOperatorRemovesTheirMemory) {
  { const named_lock lock(name()); }
  mapped_lockfile(name())->header.word.store(
      file::word::free_at(file::word::counter_end - 5).bits());
  {
    named_lock lock(name());
    std::error_code ec;
    (void)lock.acquire(0ns, {}, ec);
  }
  fs::remove(name());
  try {
    (void)next_token();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), errc::damaged);
    EXPECT_NE(std::string(error.what()).find(mark()), std::string::npos) << error.what();
  }
  fs::remove(name());
  fs::remove(mark());
  const fencing_token anew = next_token();
  EXPECT_LE(anew.value(), wall_clock_us() + 1'000);
}

}  // namespace
}  // namespace lockbyfile
