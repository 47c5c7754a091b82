// SPDX-License-Identifier: Apache-2.0
//
// What a child process has of its parent's locks: nothing, however it was made.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdio>
#include <deque>
#include <fstream>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "linux/system_calls.hpp"
#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/sanitizers.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

using Fork = LockTest;

/// fork() without the handlers of pthread_atfork, as clone(), vfork-like tricks and
/// other languages' runtimes do it.
pid_t raw_clone() { return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }

using fork_function = pid_t (*)();

/// Runs `body` in a child made by `how`; its result is the exit code. 142: it hung.
int exit_code_of(fork_function how, const std::function<int()>& body) {
  const pid_t pid = how();
  if (pid == 0) {
    ::alarm(5);
    ::_exit(body());
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// The descriptors of this process that lead to a file in `directory`.
int open_files_in(const std::string& directory) {
  int found = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    char target[PATH_MAX];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t n = ::readlink(link.c_str(), target, sizeof target);
    if (n > 0 && std::string(target, static_cast<std::size_t>(n)).starts_with(directory)) ++found;
  }
  return found;
}

/// Descriptors by which this process shares a lock on a byte of a file in `directory`. An open file
/// without one, that a child has of its parent's opening, keeps nothing alive.
int lifelines_in(const std::string& directory) {
  int found = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    char target[PATH_MAX];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t n = ::readlink(link.c_str(), target, sizeof target);
    if (n <= 0 || !std::string(target, static_cast<std::size_t>(n)).starts_with(directory))
      continue;
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
    for (std::string line; std::getline(info, line);) {
      if (line.find("OFDLCK") == std::string::npos) continue;
      ++found;
      break;
    }
  }
  return found;
}

/// A process that is killed while a child of it lives on. The child is made by `how`
/// after the parent has acquired the lock, and runs `in_child` first.
class survived_parent {
 public:
  survived_parent(const std::string& name, fork_function how,
                  const std::function<void(named_lock&)>& in_child)
      : parent_([=](talk& t) {
          named_lock lock(name);
          (void)lock.acquire(0ns);
          const pid_t pid = how();
          if (pid == 0) {
            in_child(lock);
            t.say("child");
            try {
              (void)t.hear();  // until the test closes its end
            } catch (const std::exception&) {
            }
            ::_exit(0);
          }
          ::waitpid(pid, nullptr, 0);
        }) {
    parent_.expect("child");
  }
  void kill_parent() { parent_.kill(); }
  [[nodiscard]] unsigned parent() const { return static_cast<unsigned>(parent_.pid()); }

 private:
  child parent_;
};

// TORTURE 35, P9

TEST_F(Fork, AChildHoldsNothing) {
  named_lock lock(name(), {.lease = 1h});
  const grant granted = lock.acquire(0ns);
  for (const fork_function how : {fork_function(::fork), fork_function(raw_clone)}) {
    const int wrong = exit_code_of(how, [&] {
      if (lock.is_held()) return 1;
      if (lock.token()) return 2;
      if (lock.lease_remaining() != 0ns) return 3;
      if (lock.native_handle() != -1) return 4;
      std::error_code ec;
      lock.renew(ec);
      if (ec != errc::not_holder) return 5;
      lock.release(ec);
      if (ec != errc::not_holder) return 6;
      return 0;
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_TRUE(lock.is_held());
    EXPECT_EQ(lock.token(), granted.token);
  }
}

TEST_F(Fork, NothingThatAChildDoesWithItsCopyOpensTheParentsLock) {
  for (const fork_function how : {fork_function(::fork), fork_function(raw_clone)}) {
    std::optional<named_lock> lock(std::in_place, name());
    const grant granted = lock->acquire(0ns);
    const std::array<std::function<void()>, 5> deeds{
        [&] { lock->unlock(); },
        [&] { lock.reset(); },
        [&] { *lock = named_lock(name()); },
        [&] { named_lock(std::move(*lock)).unlock(); },
        [&] {
          std::error_code ec;
          (void)lock->acquire(1ms, {}, ec);
          lock.reset();
        },
    };
    for (const auto& deed : deeds) {
      EXPECT_EQ(exit_code_of(how, [&] { return deed(), 0; }), 0);
      const lock_state state = look();
      ASSERT_TRUE(state.holder);
      EXPECT_TRUE(state.holder->alive);
      EXPECT_EQ(state.holder->token, granted.token);
    }
    lock_process other(name());
    EXPECT_EQ(other.acquire(0ns).error, errc::timed_out);
    std::error_code ec;
    lock->release(ec);
    EXPECT_EQ(ec, std::error_code()) << "the parent's grant was spoiled";
    EXPECT_TRUE(other.acquire(forever));
  }
}

TEST_F(Fork, AChildInheritsNoDescriptorOfALockfile) {
  const named_lock lock(name());
  const named_lock other(directory() + "/other");
  ASSERT_EQ(open_files_in(directory()), 2);
  EXPECT_EQ(exit_code_of(::fork, [&] { return open_files_in(directory()); }), 0);
}

TEST_F(Fork, AChildThatUsesTheLockOpensASessionOfItsOwn) {  // P9
  for (const fork_function how : {fork_function(::fork), fork_function(raw_clone)}) {
    named_lock lock(name());
    (void)lock.acquire(0ns);
    const int wrong = exit_code_of(how, [&] {
      std::error_code ec;
      if (lock.acquire(0ns, {}, ec) || ec != errc::timed_out) return 1;
      if (lock.acquire(10ms, {}, ec) || ec != errc::timed_out) return 2;
      if (open_files_in(directory()) != 1) return 3;
      return 0;
    });
    EXPECT_EQ(wrong, 0);
    lock.unlock();
    const int wrong_when_free = exit_code_of(how, [&] {
      const grant granted = lock.acquire(0ns);
      if (!lock.is_held() || lock.token() != granted.token) return 1;
      const lock_state state = look();
      if (!state.holder || state.holder->who.pid != static_cast<unsigned>(::getpid())) return 2;
      std::error_code ec;
      lock.release(ec);
      return ec ? 3 : 0;
    });
    EXPECT_EQ(wrong_when_free, 0);
    EXPECT_EQ(lock.acquire(0ns).how, grant_kind::free);
  }
}

TEST_F(Fork, AChildMayUseALockWithWhichAThreadOfTheParentWaits) {  // P9
  if (under_thread_sanitizer) GTEST_SKIP() << "forks a process with threads";
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  named_lock lock(name());
  std::thread waiting([&] { EXPECT_EQ(lock.acquire(forever).place, 0U); });
  wait_for_line_of(1);
  const int wrong = exit_code_of(::fork, [&] {
    std::error_code ec;
    if (lock.acquire(10ms, {}, ec) || ec != errc::timed_out) return 1;
    return look().waiters.size() == 1 ? 0 : 2;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(look().waiters.size(), 1U) << "the child took the parent's place away";
  EXPECT_EQ(holder.release(), std::error_code());
  waiting.join();
  EXPECT_TRUE(lock.is_held());
}

// From a callback that forks; the child leaves the wait by an exception.
TEST_F(Fork, AChildThatThrowsOutOfAWaitLeavesTheParentItsPlace) {  // P9
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  struct in_child {};
  int wrong = -1;
  std::size_t waiters = 0;
  named_lock lock(name(), {.gives_up = [&] {
                    const pid_t child = ::fork();
                    if (child == 0) throw in_child{};
                    int status = -1;
                    ::waitpid(child, &status, 0);
                    wrong = status;
                    waiters = look().waiters.size();
                    return true;
                  }});
  std::error_code ec;
  try {
    EXPECT_FALSE(lock.acquire(forever, {}, ec));
  } catch (const in_child&) {
    ::_exit(0);
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(waiters, 1U) << "the child took the parent's place away";
}

// TORTURE 36, P5, P9

TEST_F(Fork, AChildThatLivesOnDoesNotKeepItsDeadParentsLock) {
  survived_parent p(name(), ::fork, [](named_lock&) {});
  lock_process waiter(name());
  queue(waiter);
  p.kill_parent();
  const outcome taken = waiter.end_acquire();
  ASSERT_TRUE(taken) << taken;
  EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
}

TEST_F(Fork, AChildThatUsedTheLockDoesNotKeepItsDeadParents) {
  for (const fork_function how : {fork_function(::fork), fork_function(raw_clone)}) {
    survived_parent p(name(), how, [](named_lock& lock) { (void)lock.try_lock(); });
    lock_process waiter(name());
    queue(waiter);
    p.kill_parent();
    const outcome taken = waiter.end_acquire();
    ASSERT_TRUE(taken) << taken;
    EXPECT_EQ(taken.granted.how, grant_kind::abandoned);
  }
}

TEST_F(Fork, AChildThatDestroyedItsCopyDoesNotKeepItsDeadParentsLock) {
  survived_parent p(name(), raw_clone, [](named_lock& lock) { named_lock(std::move(lock)); });
  lock_process waiter(name());
  queue(waiter);
  p.kill_parent();
  EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::abandoned);
}

TEST_F(Fork, AParentsWaiterThatDiedIsGoneFromTheLineThoughItsChildLives) {  // TORTURE 47
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  child parent([this](talk& t) {
    named_lock lock(name());
    const std::jthread waiting([&] { (void)lock.acquire(forever); });
    wait_for_line_of(1);
    if (::fork() == 0) {
      t.say("child");
      try {
        (void)t.hear();
      } catch (const std::exception&) {
      }
      ::_exit(0);
    }
  });
  parent.expect("child");
  parent.kill();
  EXPECT_TRUE(look().waiters.empty());
}

TEST_F(Fork, NoChildOfAProgramThatIsOpeningLocksInheritsALifeline) {  // P9
  if (under_address_sanitizer) GTEST_SKIP() << "forks while another thread allocates";
  (void)named_lock(name());  // created already: only sessions are opened and closed
  const std::jthread opening([&](const std::stop_token& over) {
    while (!over.stop_requested()) (void)named_lock(name());
  });
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(exit_code_of(::fork, [&] { return lifelines_in(directory()); }), 0) << i;
  }
}

// TORTURE 37, P1, P9

TEST_F(Fork, ALockMadeBeforeForkExcludesAllChildrenThatUseIt) {
  constexpr unsigned children = 4;
  constexpr unsigned rounds = 300;
  struct counts {
    std::atomic<unsigned> inside;
    std::atomic<unsigned> overlaps;
    std::atomic<std::uint64_t> counter;
    std::atomic<std::uint64_t> token;
    std::atomic<unsigned> tokens_out_of_order;
  };
  const shared_memory<counts> shared;
  named_lock lock(name());  // "pre-forking server"
  (void)lock.acquire(0ns);
  lock.unlock();

  std::deque<child> all;
  for (unsigned i = 0; i < children; ++i) {
    all.emplace_back([&](talk& t) {
      t.say("ready");
      t.expect("go");
      for (unsigned r = 0; r < rounds; ++r) {
        const grant granted = lock.acquire();
        if (shared->inside.fetch_add(1) != 0) ++shared->overlaps;
        if (shared->token.exchange(granted.token.value()) >= granted.token.value())
          ++shared->tokens_out_of_order;
        const auto seen = shared->counter.load(std::memory_order_relaxed);
        if (r % 16 == 0) std::this_thread::yield();
        shared->counter.store(seen + 1, std::memory_order_relaxed);
        --shared->inside;
        lock.unlock();
      }
    });
  }
  for (child& c : all) c.expect("ready");
  for (child& c : all) c.say("go");
  for (child& c : all) EXPECT_EQ(c.wait(), 0);
  EXPECT_EQ(shared->overlaps, 0U);
  EXPECT_EQ(shared->tokens_out_of_order, 0U);
  EXPECT_EQ(shared->counter, children * rounds);
  EXPECT_TRUE(lock.try_lock()) << "and the parent may still use it";
}

// TORTURE 43

TEST_F(Fork, AnExecutedProgramInheritsNoDescriptorOfALockfile) {
  named_lock lock(name());
  (void)lock.acquire(0ns);
  // NOLINTNEXTLINE(cert-env33-c): a program is what we want to start
  std::FILE* sh = ::popen("for f in /proc/self/fd/* /proc/$$/fd/*; do readlink $f; done", "r");
  ASSERT_NE(sh, nullptr);
  std::string open_files;
  for (char line[PATH_MAX]; std::fgets(line, sizeof line, sh) != nullptr;) open_files += line;
  EXPECT_EQ(::pclose(sh) & 0x7f, 0);
  EXPECT_NE(open_files.find('/'), std::string::npos) << "nothing was listed";
  EXPECT_EQ(open_files.find("lockfile"), std::string::npos) << open_files;
}

TEST_F(Fork, AProgramStartedByTheHolderDoesNotKeepItsLockAlive) {  // P5
  child holder([this](talk& t) {
    named_lock lock(name());
    (void)lock.acquire(0ns);
    // NOLINTNEXTLINE(cert-env33-c)
    std::FILE* sleeper = ::popen("echo started; exec sleep 60 2>/dev/null", "r");
    char line[16];
    if (std::fgets(line, sizeof line, sleeper) != nullptr) t.say("started");
    (void)t.hear();
  });
  holder.expect("started");
  lock_process waiter(name());
  queue(waiter);
  holder.kill();
  EXPECT_EQ(waiter.end_acquire().granted.how, grant_kind::abandoned);
}

// P9 and keep_alive, whose thread is not in the child, but may have been at work

/// The thread takes its time, so that many of the forks find it renewing.
int (*real_lstat)(const char*, struct stat*) = nullptr;
int lstat_that_takes_time(const char* path, struct stat* result) {
  if (::gettid() != ::getpid()) std::this_thread::sleep_for(500us);
  return real_lstat(path, result);
}

class ForkWithKeepAlive : public LockTest {
 protected:
  void SetUp() override {
    if (under_sanitizer) GTEST_SKIP() << "forks a process with threads";
    real_lstat = sys.lstat;
    sys.lstat = lstat_that_takes_time;
  }
  void TearDown() override {
    if (real_lstat != nullptr) sys.lstat = real_lstat;
  }
  /// Acquires `lock`, to be renewed every 333 us.
  static void acquire(named_lock& lock) {
    (void)lock.acquire(0ns);
    lock.set_lease(1ms);
  }

  void expect_ends_well(const std::function<int()>& body) {
    for (int i = 0; i < 30; ++i) {
      const int code = exit_code_of(::fork, body);
      ASSERT_EQ(code, 0) << "in child " << i << (code == 142 ? ", which hung" : "");
    }
  }
};

TEST_F(ForkWithKeepAlive, AChildMayUseAndDestroyTheLock) {
  std::optional<named_lock> lock(std::in_place, name());
  acquire(*lock);
  const keep_alive keeper(*lock);
  expect_ends_well([&] {
    if (lock->is_held()) return 1;
    std::error_code ec;
    (void)lock->acquire(1ms, {}, ec);
    lock->unlock();
    lock.reset();
    return 0;
  });
}

TEST_F(ForkWithKeepAlive, AChildMayDestroyTheKeepAlive) {
  named_lock lock(name());
  acquire(lock);
  std::optional<keep_alive> keeper(std::in_place, lock);
  expect_ends_well([&] {
    keeper.reset();
    return 0;
  });
}

TEST_F(ForkWithKeepAlive, AChildMayKeepAGrantOfItsOwnAlive) {
  named_lock lock(name());
  acquire(lock);
  const keep_alive keeper(lock);
  expect_ends_well([&] {
    std::error_code ec;
    break_lock(name(), {}, {}, ec);  // unless a child before has done so
    (void)lock.acquire(forever);
    lock.set_lease(1h);
    lock.renew();
    const keep_alive own(lock);
    return lock.is_held() ? 0 : 1;
  });
}

}  // namespace
}  // namespace lockbyfile
