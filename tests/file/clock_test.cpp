// SPDX-License-Identifier: Apache-2.0
//
// Other clocks than ours: after a reboot (TORTURE 25), in a time namespace (34), and a wall
// clock that is set (30). The boot is faked through the seam.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "file/word.hpp"
#include "linux/clock_identity.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"
#include "support/temporary_directory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// As if the machine had been booted anew, as long as this lives. What is said to be the
/// boot's id is read from a file of the test's.
class another_boot {
 public:
  explicit another_boot(const std::string& id = "6f1e3d2c-0a1b-4c5d-8e9f-001122334455\n") {
    id_file = fs::temp_directory_path() / ("lockbyfile-boot-" + std::to_string(::getpid()));
    write_file(id_file, id);
    real = std::exchange(sys.open, [](const char* path, int flags, mode_t mode) {
      const bool asked = std::string_view(path) == "/proc/sys/kernel/random/boot_id";
      return real(asked ? id_file.c_str() : path, flags, mode);
    });
    forget_this_clock();
  }
  ~another_boot() {
    sys.open = real;
    forget_this_clock();
    fs::remove(id_file);
  }
  another_boot(const another_boot&) = delete;
  another_boot& operator=(const another_boot&) = delete;

 private:
  static inline int (*real)(const char*, int, mode_t) = nullptr;
  static inline std::string id_file;
};

using Reboot = LockTest;

// TORTURE 25

TEST_F(Reboot, FreesALockThatWasHeld) {
  fencing_token last;
  {
    lock_process holder(name());
    last = holder.acquire(0ns).granted.token;
    holder.kill();
  }
  const another_boot after;
  named_lock lock(name());
  const grant g = lock.acquire(0ns);
  EXPECT_EQ(g.how, grant_kind::free) << "nobody can have held it in this boot";
  EXPECT_GT(g.token, last) << "P2";
  EXPECT_TRUE(lock.is_held());
}

TEST_F(Reboot, FreesALockWhoseDeadlineIsStillToCome) {  // on a clock that began anew
  {
    named_lock(name(), {.lease = 24h * 365}).lock();
    const mapped_lockfile bytes(name());
    bytes->header.word.store(bytes.word().granted_to(3).bits());
    bytes->slots[3].lease_deadline.store(never - 1);
    bytes->slots[5].ticket.store(1);
    bytes->header.last_to_join.store(1);
  }
  const another_boot after;
  const auto before = look();
  EXPECT_FALSE(before.holder) << "also to those who only look";
  EXPECT_TRUE(before.waiters.empty());
  named_lock lock(name());
  EXPECT_EQ(lock.acquire(0ns).how, grant_kind::free);
  EXPECT_EQ(look().grants.size(), 1U) << "the grants of another boot have other instants";
}

TEST_F(Reboot, KeepsTokensGrowingWhateverTheWallClockSays) {
  fencing_token last = named_lock(name()).acquire(0ns).token;
  const another_boot after;
  const shifted_clocks clocks;
  shifted_clocks::wall() = -std::int64_t{1'700'000'000} * 1'000'000'000;  // a flat battery
  named_lock lock(name());
  EXPECT_GT(lock.acquire(0ns).token, last);
}

TEST_F(Reboot, KeepsTokensGrowingIfTheyWereAheadOfTheWallClock) {
  { const named_lock lock(name()); }
  const std::uint64_t ahead = put_ahead_of_the_clock(name(), 1h);
  const another_boot after;
  EXPECT_GT(named_lock(name()).acquire(0ns).token.value(), ahead);
}

TEST_F(Reboot, KeepsTheFileAndItsMode) {
  { const named_lock lock(name(), {.mode = 0640}); }
  struct stat before {};
  struct stat now {};
  ASSERT_EQ(::stat(name().c_str(), &before), 0);
  const another_boot after;
  { const named_lock lock(name()); }
  ASSERT_EQ(::stat(name().c_str(), &now), 0);
  EXPECT_EQ(now.st_ino, before.st_ino);
  EXPECT_EQ(now.st_mode, before.st_mode);
}

// A container with a boot id of its own (LXC, systemd-nspawn) shares the directory.
TEST_F(Reboot, IsNotBelievedAsLongAsSomebodyHasTheFileOpen) {
  lock_process holder(name());
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  {
    const another_boot in_a_container;
    named_lock lock(name());
    EXPECT_FALSE(lock.try_lock()) << "two holders";
    EXPECT_EQ(observe(name()).holder->token, held.granted.token);
    std::error_code ec;
    lockbyfile::remove(name(), {}, ec);
    EXPECT_EQ(ec, errc::in_use);
    EXPECT_TRUE(prune(directory()).empty());
    EXPECT_EQ(holder.release(), std::error_code());
    EXPECT_TRUE(lock.try_lock());
    EXPECT_FALSE(holder.acquire(0ns)) << "two holders";
  }
  EXPECT_EQ(look().holder, std::nullopt);
  EXPECT_TRUE(holder.acquire(0ns)) << "the first id counts on";
}

TEST_F(Reboot, IsNotBelievedOfAHolderThatDiesInAnotherContainer) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  const another_boot in_a_container;
  named_lock lock(name());
  holder.kill();
  EXPECT_EQ(lock.acquire(10s).how, grant_kind::abandoned);
}

/// A chroot or a sandbox without /proc, as long as this lives.
class no_proc {
 public:
  no_proc() {
    real_ = std::exchange(sys.open, [](const char* path, int flags, mode_t mode) {
      if (!std::string_view(path).starts_with("/proc/")) return real_(path, flags, mode);
      errno = ENOENT;
      return -1;
    });
    forget_this_clock();
  }
  ~no_proc() {
    sys.open = real_;
    forget_this_clock();
  }
  no_proc(const no_proc&) = delete;
  no_proc& operator=(const no_proc&) = delete;

 private:
  static inline int (*real_)(const char*, int, mode_t) = nullptr;
};

using WithoutProc = LockTest;

TEST_F(WithoutProc, ALockIsMadeAndTakenAndSharedWithThoseThatHaveIt) {
  lock_process with_proc(name());
  const no_proc here;
  named_lock lock(name());
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(with_proc.acquire(0ns));
  lock.unlock();
  ASSERT_TRUE(with_proc.acquire(0ns));
  EXPECT_FALSE(lock.try_lock());
  with_proc.kill();
  EXPECT_EQ(lock.acquire(10s).how, grant_kind::abandoned);
}

TEST_F(WithoutProc, AFileOfItsOwnIsLaterUsedByThoseThatHaveIt) {
  fencing_token last;
  {
    const no_proc here;
    named_lock lock(name());
    last = lock.acquire(0ns).token;
  }
  named_lock lock(name());
  EXPECT_GT(lock.acquire(0ns).token, last);
}

TEST_F(WithoutProc, WhatADeadHolderLeftIsToldByTheClocksOrigin) {
  {
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    holder.kill();
  }
  const no_proc here;
  EXPECT_EQ(named_lock(name()).acquire(0ns).how, grant_kind::abandoned);
}

TEST_F(Reboot, OfASecondSessionInTheSameBootResetsNothing) {
  named_lock first(name());
  first.lock();
  forget_this_clock();
  named_lock second(name());
  EXPECT_FALSE(second.try_lock());
  EXPECT_EQ(look().holder->token, first.token());
  EXPECT_TRUE(first.is_held());
}

TEST_F(Reboot, WithTheResetKilledAtAnyStepIsMadeGood) {  // TORTURE 14
  bool completed = false;
  for (int step = 1; !completed; ++step) {
    SCOPED_TRACE(step);
    ASSERT_LT(step, 200);
    const fencing_token last = named_lock(name()).acquire(0ns).token;
    {
      const another_boot after;
      completed = run_in_child([&] {
                    int calls = 0;
                    const seam deadly([&](std::string_view) {
                      if (++calls == step) ::raise(SIGKILL);
                      return 0;
                    });
                    const named_lock lock(name());
                  }) == 0;
    }
    const another_boot third("11111111-2222-3333-4444-555555555555\n");
    named_lock first(name());
    named_lock second(name());
    EXPECT_GT(first.acquire(0ns).token, last);
    EXPECT_FALSE(second.try_lock());
  }
}

TEST_F(Reboot, SeenByManyAtOnceResetsOnce) {  // TORTURE 15
  for (int round = 0; round < 10; ++round) {
    const fencing_token last = named_lock(name()).acquire(0ns).token;
    const another_boot after(std::string("6f1e3d2c-0a1b-4c5d-8e9f-00112233445") +
                             std::to_string(round) + "\n");
    std::list<child> openers;
    for (int i = 0; i < 4; ++i) {
      openers.emplace_back([&](talk& t) {
        t.expect("go");
        named_lock lock(name());
        const grant g = lock.acquire(1min);
        lock.unlock();
        t.say(std::to_string(g.token.value()));
      });
    }
    for (auto& o : openers) o.say("go");
    std::set<std::uint64_t> tokens;
    for (auto& o : openers) tokens.insert(std::stoull(o.hear()));
    EXPECT_EQ(tokens.size(), 4U) << "a token was given twice";
    EXPECT_GT(*tokens.begin(), last.value());
    openers.clear();
  }
}

TEST_F(Reboot, ThatCannotBeToldIsAClearError) {
  for (const std::string id : {"", "garbage\n", "6f1e3d2c-0a1b-4c5d-8e9f-00112233445\n",
                               "6f1e3d2c-0a1b-4c5d-8e9f-0011223344556\n"}) {
    const another_boot strange(id);
    try {
      const named_lock lock(name());
      ADD_FAILURE() << id;
    } catch (const lock_error& error) {
      EXPECT_NE(std::string(error.what()).find("boot"), std::string::npos) << error.what();
      EXPECT_EQ(error.path(), "/proc/sys/kernel/random/boot_id");
    }
    EXPECT_FALSE(fs::exists(name()));
  }
}

// TORTURE 37, P9

std::atomic<bool> halting = false;
std::atomic<bool> halted = false;

TEST_F(Reboot, IsToldToAChildThatWasForkedWhileAThreadAskedForIt) {
  static int (*const real)(const char*, int, mode_t) = sys.open;
  { const named_lock lock(name()); }
  forget_this_clock();
  halting = true;
  sys.open = [](const char* path, int flags, mode_t mode) {
    while (halting && std::string_view(path).ends_with("boot_id")) {
      halted = true;
      std::this_thread::yield();
    }
    return real(path, flags, mode);
  };
  std::thread asking([&] { const named_lock lock(name()); });
  while (!halted) std::this_thread::yield();
  EXPECT_TRUE(passes_in_child([&] {
    ::alarm(10);
    halting = false;
    named_lock lock(name());
    EXPECT_TRUE(lock.try_lock());
  })) << "hung by a lock of a thread that is not there";
  halting = false;
  asking.join();
  sys.open = real;
}

// TORTURE 31: the machine sleeps for a night, with all its processes and CLOCK_MONOTONIC

TEST(Suspend, LetsTheLeaseAndThePatienceSleepToo) {
  const temporary_directory directory;
  const std::string path = directory.path() + "/bed.lockfile";
  const shifted_clocks clocks;
  named_lock holder(path, {.lease = 1min});
  named_lock other(path);
  holder.lock();
  const auto night = std::chrono::nanoseconds(8h).count();
  shifted_clocks::wall() += night;
  EXPECT_TRUE(holder.is_held());
  EXPECT_GT(holder.lease_remaining(), 59s);
  EXPECT_FALSE(other.try_lock_for(30s));  // 30 s of the shifted clock
  EXPECT_GT(holder.lease_remaining(), 29s);
  holder.renew();
  shifted_clocks::wall() += night;
  EXPECT_GT(holder.lease_remaining(), 59s);
  std::error_code ec;
  holder.release(ec);
  EXPECT_FALSE(ec) << "it compromised its own lock";
  EXPECT_TRUE(other.try_lock());
}

TEST(Suspend, IsNotSeenByTheClocksThatAreAsked) {  // no CLOCK_BOOTTIME, which goes on
  static int (*const real)(clockid_t, struct timespec*) = sys.clock_gettime;
  sys.clock_gettime = [](clockid_t clock, struct timespec* result) {
    EXPECT_TRUE(clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE ||
                clock == CLOCK_REALTIME)
        << clock;
    return real(clock, result);
  };
  {
    const temporary_directory directory;
    const std::string path = directory.path() + "/bed.lockfile";
    named_lock holder(path, {.lease = 20ms});
    named_lock other(path);
    holder.lock();
    EXPECT_TRUE(other.try_lock_for(1min));
    other.renew();
    (void)observe(path);
  }
  sys.clock_gettime = real;
}

// TORTURE 34

/// Runs in a time namespace whose monotonic clock is a day ahead. Exits with 77 if that is
/// not permitted.
void in_another_time_namespace(const std::function<void()>& body) {
  if (::unshare(CLONE_NEWTIME) != 0) ::_exit(77);
  std::ofstream("/proc/self/timens_offsets") << "monotonic 86400 0\n" << std::flush;
  const int code = run_in_child(body);  // the namespace is for children
  if (code != 0) ::_exit(code);
}

bool can_make_time_namespaces() {
  return run_in_child([] { in_another_time_namespace([] {}); }) == 0;
}

class TimeNamespace : public LockTest {
 protected:
  void SetUp() override {
    if (!can_make_time_namespaces()) GTEST_SKIP() << "time namespaces are not permitted";
  }
  static ::testing::AssertionResult passes_there(const std::function<void()>& body) {
    return passes_in_child([&] { in_another_time_namespace(body); });
  }
};

TEST_F(TimeNamespace, IsRefusedWhileTheLockIsInUseInAnother) {
  named_lock ours(name(), {.lease = 1h});
  ours.lock();
  EXPECT_TRUE(passes_there([&] {
    try {
      const named_lock lock(name());
      ADD_FAILURE() << "instants of two clocks were compared";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::clock_mismatch);
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("time namespace"), std::string::npos);
    }
    std::error_code ec;
    EXPECT_FALSE(observe(name(), {}, ec));
    EXPECT_EQ(ec, errc::clock_mismatch);
    EXPECT_TRUE(prune(directory()).empty());
  }));
  EXPECT_TRUE(ours.is_held()) << "its lease has an hour, not minus 23 hours";
  const named_lock idle(name());
  ours.unlock();
  EXPECT_TRUE(passes_there([&] {
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name(), {}, ec)) << "open is in use, too";
    EXPECT_EQ(ec, errc::clock_mismatch);
  }));
  EXPECT_TRUE(ours.try_lock());
}

TEST_F(TimeNamespace, IsAcceptedWhenNobodyHasTheLockOpen) {
  const fencing_token last = named_lock(name()).acquire(0ns).token;
  EXPECT_TRUE(passes_there([&] {
    EXPECT_FALSE(observe(name()).holder);
    named_lock first(name(), {.lease = 1h});
    named_lock second(name());
    EXPECT_GT(first.acquire(0ns).token, last);
    EXPECT_FALSE(second.try_lock());
    EXPECT_TRUE(first.is_held());
  }));
  named_lock back(name());
  EXPECT_GT(back.acquire(0ns).token, last);
}

TEST_F(TimeNamespace, OfTheUserShutsOutAllOthers) {
  { const named_lock lock(name()); }
  EXPECT_TRUE(passes_in_child([&] {
    child there([&](talk& t) {
      in_another_time_namespace([&] {
        named_lock lock(name(), {.lease = 1h});
        lock.lock();
        t.say("held");
        t.expect("go");
        EXPECT_TRUE(lock.is_held()) << "harmed by those who were refused";
        std::error_code ec;
        lock.release(ec);
        EXPECT_FALSE(ec);
      });
    });
    there.expect("held");
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name(), {}, ec));
    EXPECT_EQ(ec, errc::clock_mismatch);
    there.say("go");
    EXPECT_EQ(there.wait(), 0);
    EXPECT_TRUE(named_lock(name()).try_lock());
  }));
}

TEST_F(TimeNamespace, MayBreakALockInUseInAnother) {  // no clock is needed for that
  named_lock ours(name());
  ours.lock();
  EXPECT_TRUE(passes_there([&] { break_lock(name(), fencing_token()); }));
  EXPECT_FALSE(ours.is_held());
}

using CoarseClock = LockTest;

TEST_F(CoarseClock, ThatIsBehindMakesNoGrantLongerThanItsLease) {  // P1
  const shifted_clocks clocks;
  shifted_clocks::lag() = 50'000'000;
  named_lock lock(name(), {.lease = 2s});
  lock.lock();
  const std::chrono::nanoseconds left = lock.lease_remaining();
  shifted_clocks::steady() += (left + 1ms).count();
  EXPECT_FALSE(lock.is_held());
  std::error_code ec;
  lock.release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
}

}  // namespace
}  // namespace lockbyfile
