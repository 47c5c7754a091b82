// SPDX-License-Identifier: Apache-2.0
//
// Lockfiles that are removed the right way: remove and prune leave nobody behind on a
// file without a name.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"
#include "support/seed.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Removal : public LockTest {
 protected:
  [[nodiscard]] ino_t inode() const {
    struct stat s {};
    EXPECT_EQ(::stat(name().c_str(), &s), 0);
    return s.st_ino;
  }
  [[nodiscard]] std::error_code remove_it() const {
    std::error_code ec;
    lockbyfile::remove(name(), {}, ec);
    return ec;
  }
};

// TORTURE 8

TEST_F(Removal, NothingButRemoveAndPruneUnlinksTheFile) {
  named_lock lock(name(), {.lease = 1ms});
  const ino_t first = inode();
  lock.lock();
  lock.renew();
  lock.unlock();
  EXPECT_EQ(inode(), first) << "release";
  lock.lock();
  break_lock(name(), fencing_token());
  EXPECT_EQ(inode(), first) << "break";
  {
    lock_process other(name());
    ASSERT_TRUE(other.acquire(0ns));
    other.kill();
  }
  EXPECT_TRUE(lock.try_lock_for(1h));
  EXPECT_EQ(inode(), first) << "takeover";
  { const named_lock gone = std::move(lock); }
  EXPECT_EQ(inode(), first) << "the last session";
}

TEST_F(Removal, SessionsMoveToTheNewFileAndMeetThere) {
  named_lock first(name());
  lock_process second(name());
  ASSERT_TRUE(second.acquire(0ns));
  ASSERT_EQ(second.release(), std::error_code());
  const fencing_token last = first.acquire(0ns).token;
  first.unlock();
  ASSERT_EQ(remove_it(), std::error_code());
  EXPECT_FALSE(fs::exists(name()));

  EXPECT_GT(first.acquire(0ns).token, last) << "P2";
  EXPECT_EQ(second.acquire(0ns).error, errc::timed_out) << "one holder per file";
  lock_process third(name());
  EXPECT_EQ(third.acquire(0ns).error, errc::timed_out);
  first.unlock();
  EXPECT_TRUE(second.acquire(0ns));
  EXPECT_FALSE(first.try_lock());
}

TEST_F(Removal, WaitersMoveToTheNewFileAndAreServedThere) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  std::list<lock_process> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back(name());
    queue(waiters.back());
  }
  for (const auto& w : waiters) w.stop();  // so that the lock is free and they still wait
  ASSERT_EQ(holder.release(), std::error_code());
  ASSERT_EQ(remove_it(), std::error_code());
  named_lock fresh(name());
  fencing_token last = fresh.acquire(0ns).token;
  for (const auto& w : waiters) w.go_on();

  wait_for_line_of(3);  // of the new file
  EXPECT_TRUE(fresh.is_held());
  fresh.unlock();
  std::vector<lock_process*> waiting;
  for (auto& w : waiters) waiting.push_back(&w);
  while (!waiting.empty()) {
    unsigned pid = 0;
    ASSERT_TRUE(eventually([&] {
      const auto state = look();
      pid = state.holder ? state.holder->who.pid : 0;
      return pid != 0;
    }));
    const auto next = std::find_if(waiting.begin(), waiting.end(),
                                   [&](const auto* w) { return w->pid() == pid; });
    ASSERT_NE(next, waiting.end());
    const outcome o = (*next)->end_acquire();
    ASSERT_TRUE(o) << o;
    EXPECT_GT(o.granted.token, last);
    last = o.granted.token;
    ASSERT_EQ((*next)->release(), std::error_code());
    waiting.erase(next);
  }
}

TEST_F(Removal, AHeldLockIsNotRemoved) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  EXPECT_EQ(remove_it(), errc::in_use);
  EXPECT_EQ(remove_it(), std::errc::device_or_resource_busy);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(holder.release(), std::error_code());
  EXPECT_EQ(remove_it(), std::error_code());
}

TEST_F(Removal, AnAbandonedLockIsRemoved) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  holder.kill();
  EXPECT_EQ(remove_it(), std::error_code());
  EXPECT_FALSE(fs::exists(name()));
}

TEST_F(Removal, OfNothingIsNotFound) {
  EXPECT_EQ(remove_it(), errc::not_found);
  EXPECT_EQ(remove_it(), std::errc::no_such_file_or_directory);
  try {
    lockbyfile::remove(name());
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.path(), name());
    EXPECT_NE(std::string(error.what()).find(name()), std::string::npos);
  }
}

TEST_F(Removal, ThatFailsLeavesAWorkingLock) {  // TORTURE 19
  named_lock lock(name());
  const ino_t first = inode();
  {
    const seam failing([](std::string_view call) { return call == "unlink" ? EPERM : 0; });
    try {
      lockbyfile::remove(name());
      ADD_FAILURE();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::errc::operation_not_permitted);
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
    }
  }
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(inode(), first);
  named_lock other(name());
  EXPECT_FALSE(other.try_lock());
}

TEST_F(Removal, KilledAtAnyStepLeavesAWorkingLock) {  // TORTURE 14, 26
  bool completed = false;
  for (int step = 1; !completed; ++step) {
    SCOPED_TRACE(step);
    ASSERT_LT(step, 200);
    named_lock old(name());
    const fencing_token last = old.acquire(0ns).token;
    old.unlock();
    completed = run_in_child([&] {
                  int calls = 0;
                  const seam deadly([&](std::string_view) {
                    if (++calls == step) ::raise(SIGKILL);
                    return 0;
                  });
                  lockbyfile::remove(name());
                }) == 0;
    ASSERT_TRUE(old.try_lock()) << "a session that was open all the while";
    EXPECT_GT(old.token(), last);
    named_lock fresh(name());
    EXPECT_FALSE(fresh.try_lock()) << "two locks of one name";
    old.unlock();
    EXPECT_TRUE(fresh.try_lock());
    EXPECT_FALSE(old.try_lock());
  }
}

TEST_F(Removal, StoppedHalfWayIsAnErrorForOpenersUntilItGoesOn) {
  named_lock old(name());
  child remover([&](talk&) {
    const seam halting([](std::string_view call) {
      if (call == "unlink") ::raise(SIGSTOP);
      return 0;
    });
    lockbyfile::remove(name());
  });
  ASSERT_EQ(::waitpid(remover.pid(), nullptr, WUNTRACED), remover.pid());
  {
    const shifted_clocks two_seconds_in_no_time;
    try {
      const named_lock lock(name());
      ADD_FAILURE() << "opened a file that is being removed";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::stuck);
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
    }
    std::error_code ec;
    EXPECT_FALSE(old.acquire(0ns, {}, ec)) << "held by a remover";
    EXPECT_TRUE(ec);
    EXPECT_FALSE(old.acquire(1h, {}, ec));
    EXPECT_EQ(ec, errc::stuck);
    EXPECT_EQ(remove_it(), errc::stuck);
    const auto state = observe(name(), {}, ec);
    ASSERT_TRUE(state) << "looking is always possible: " << ec.message();
    EXPECT_FALSE(state->holder);
  }
  remover.go_on();
  EXPECT_EQ(remover.wait(), 0);
  EXPECT_TRUE(old.try_lock());
  named_lock fresh(name());
  EXPECT_FALSE(fresh.try_lock());
}

TEST_F(Removal, OfALockThatTwoWantToRemoveHappensOnce) {
  { const named_lock lock(name()); }
  std::list<child> removers;
  for (int i = 0; i < 8; ++i) {
    removers.emplace_back([&](talk& t) {
      t.expect("go");
      std::error_code ec;
      lockbyfile::remove(name(), {}, ec);
      t.say(!ec ? "removed" : ec == errc::not_found ? "not found" : ec.message());
    });
  }
  int removed = 0;
  for (auto& r : removers) r.say("go");
  for (auto& r : removers) {
    const std::string said = r.hear();
    if (said == "removed")
      ++removed;
    else
      EXPECT_EQ(said, "not found");
  }
  EXPECT_EQ(removed, 1);
}

// prune, TORTURE 20

class Prune : public Removal {
 protected:
  [[nodiscard]] std::string path_of(const std::string& lock) const {
    return directory() + "/" + lock + ".lockfile";
  }
  void make(const std::string& lock) const {
    const named_lock made(lock, {.directory = directory()});
  }
};

TEST_F(Prune, RemovesWhatNobodyHasOpenAndSaysWhat) {
  make("a");
  make("b");
  const named_lock open_here(path_of("here"));
  const lock_process open_there(path_of("there"));
  lock_process killed(path_of("killed"));
  ASSERT_TRUE(killed.acquire(0ns));
  killed.kill();
  EXPECT_EQ(prune(directory()), (std::vector{path_of("a"), path_of("b"), path_of("killed")}));
  EXPECT_EQ(list(directory()), (std::vector{path_of("here"), path_of("there")}));
  EXPECT_EQ(prune(directory()), std::vector<std::string>()) << "nothing is left to do";
}

TEST_F(Prune, LeavesForeignFilesAlone) {  // P10
  make("a");
  write_file(path_of("text"), "lockbyfile lockfile? No, notes about one.\n");
  write_file(path_of("empty"), "");
  write_file(path_of("zeros"), std::string(4096, '\0'));
  fs::create_directory(path_of("directory"));
  fs::create_symlink(path_of("a"), path_of("link"));
  ASSERT_EQ(::mkfifo(path_of("fifo").c_str(), 0600), 0);
  make("newer");
  mapped_lockfile(path_of("newer"))->header.format.store(2);
  const std::size_t before = files_in(directory());
  EXPECT_EQ(prune(directory()), std::vector{path_of("a")});
  EXPECT_EQ(files_in(directory()), before - 1);
}

TEST_F(Prune, RemovesDamagedFilesThatNobodyHasOpen) {  // "leftovers exhaust inodes"
  make("damaged");
  mapped_lockfile(path_of("damaged"))->header.capacity.store(7);
  make("short");
  truncate_file(path_of("short"), 200);
  make("old boot");
  mapped_lockfile(path_of("old boot"))->header.boot_id[0].fetch_add(1);
  EXPECT_EQ(prune(directory()).size(), 3U);
  EXPECT_EQ(files_in(directory()), 0U);
}

TEST_F(Prune, OfADirectoryThatCannotBeReadIsAnError) {
  for (const auto& [where, code] :
       {std::pair{directory() + "/missing", std::errc::no_such_file_or_directory},
        std::pair{path_of("a"), std::errc::not_a_directory}}) {
    make("a");
    try {
      prune(where);
      ADD_FAILURE() << where;
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_NE(std::string(error.what()).find(where), std::string::npos) << error.what();
    }
  }
}

TEST_F(Prune, InTheCurrentDirectoryByItsManyNames) {
  const fs::path before = fs::current_path();
  fs::current_path(directory());
  for (const auto* here : {"", ".", "./"}) {
    make("a");
    EXPECT_EQ(prune(here).size(), 1U) << '"' << here << '"';
    EXPECT_FALSE(fs::exists(path_of("a")));
  }
  fs::current_path(before);
}

TEST_F(Prune, WhileEightProcessesHammerDoesNotSplitALock) {
  constexpr int names = 3;
  constexpr int rounds = 400;
  struct watched {
    std::atomic<int> inside[names];
    std::atomic<std::uint64_t> last_token[names];
    std::atomic<int> violations;
    std::atomic<bool> done;
  };
  const shared_memory<watched> shared;
  auto random = seeded("Prune.WhileEightProcessesHammerDoesNotSplitALock");

  child pruner([&](talk& t) {
    std::size_t removed = 0;
    while (!shared->done) removed += prune(directory()).size();
    t.say(std::to_string(removed));
  });
  std::list<child> hammers;
  for (int p = 0; p < 8; ++p) {
    const auto seed = random();
    hammers.emplace_back([&, seed](talk&) {
      std::mt19937_64 dice(seed);
      std::optional<named_lock> kept[names];
      for (int i = 0; i < rounds; ++i) {
        const auto n = static_cast<std::size_t>(pick(dice, 0, names - 1));
        if (!kept[n]) kept[n].emplace(path_of(std::to_string(n)));
        const grant g = kept[n]->acquire(1min);
        if (shared->inside[n].fetch_add(1) != 0) ++shared->violations;
        if (shared->last_token[n].exchange(g.token.value()) >= g.token.value())
          ++shared->violations;
        if (pick(dice, 0, 9) == 0) ::sched_yield();
        shared->inside[n].fetch_sub(1);
        std::error_code ec;
        kept[n]->release(ec);
        if (ec) ++shared->violations;  // remove() takes no grant away
        if (pick(dice, 0, 1) == 0) kept[n].reset();
      }
    });
  }
  for (auto& h : hammers) EXPECT_EQ(h.wait(), 0);
  shared->done = true;
  EXPECT_GT(std::stoul(pruner.hear()), 0U) << "there was nothing to prune: no test at all";
  EXPECT_EQ(shared->violations, 0);
}

// list

using List = Prune;

TEST_F(List, ShowsLockfilesSortedAndPassesOverOthers) {
  make("b");
  make("a");
  const named_lock unusual(directory() + "/no-suffix");
  write_file(path_of("text"), "lockbyfile\n");
  write_file(path_of("empty"), "");
  write_file(path_of("short"), "lockbyfile lockfile, format 1");
  fs::create_directory(path_of("directory"));
  fs::create_symlink(path_of("a"), path_of("link"));
  fs::create_symlink(path_of("nowhere"), path_of("dangling"));
  ASSERT_EQ(::mkfifo(path_of("fifo").c_str(), 0600), 0);
  EXPECT_EQ(list(directory()), (std::vector{path_of("a"), path_of("b")}));
  EXPECT_EQ(list(directory(), which_names::all),
            (std::vector{path_of("a"), path_of("b"), directory() + "/no-suffix"}));
}

TEST_F(List, OfAnEmptyDirectoryIsEmpty) { EXPECT_TRUE(list(directory()).empty()); }

TEST_F(List, OfADirectoryThatCannotBeReadIsAnError) {
  try {
    (void)list(directory() + "/missing");
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), std::error_code(ENOENT, std::system_category()));
  }
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    try {
      (void)list(directory());
      ADD_FAILURE();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::errc::permission_denied);
      EXPECT_EQ(error.path(), directory());
    }
  }));
}

}  // namespace
}  // namespace lockbyfile
