// SPDX-License-Identifier: Apache-2.0
//
// How many sessions a lock can have, and what happens where there is no room for more.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "file/layout.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// So many descriptors may be open; false if that is not permitted.
bool limit_descriptors(rlim_t number) {
  struct rlimit limit {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = number;
  return number <= limit.rlim_max && ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

class Sessions : public LockTest {
 protected:
  [[nodiscard]] std::uint32_t capacity() const {
    return mapped_lockfile(name())->header.capacity.load();
  }
  /// Each can be granted the lock, and excludes the others.
  template <class List>
  void expect_all_work(List& sessions) const {
    fencing_token last;
    named_lock* former = nullptr;
    for (auto& session : sessions) {
      ASSERT_GT(session.acquire(0ns).token, last);
      last = session.token();
      ASSERT_FALSE(former != nullptr && former->try_lock());
      former = &session;
      session.unlock();
    }
  }
};

TEST_F(Sessions, BeyondTheFirstPageMakeTheFileGrow) {
  std::list<named_lock> sessions;
  for (int i = 0; i < 24; ++i) sessions.emplace_back(name());
  EXPECT_EQ(fs::file_size(name()), 4096U);
  EXPECT_EQ(capacity(), 24U);
  sessions.emplace_back(name());
  EXPECT_GT(capacity(), 24U);
  EXPECT_GE(fs::file_size(name()), file::size_for(capacity()));
  for (int i = 0; i < 175; ++i) sessions.emplace_back(name());
  EXPECT_GE(capacity(), 200U);
  expect_all_work(sessions);

  // Sessions that were opened before it grew see those that came after.
  sessions.back().lock();
  EXPECT_FALSE(sessions.front().try_lock());
  EXPECT_EQ(look().holder->token, sessions.back().token());
}

TEST_F(Sessions, GrowTheFileWhileOthersHoldAndWait) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  lock_process first(name());
  queue(first);
  std::list<named_lock> more;
  for (int i = 0; i < 60; ++i) more.emplace_back(name());
  lock_process late(name());  // in a slot that did not exist when the others opened
  queue(late);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(holder.release(), std::error_code());
  const outcome a = first.end_acquire();
  ASSERT_TRUE(a);
  EXPECT_EQ(first.release(), std::error_code());
  const outcome b = late.end_acquire();
  ASSERT_TRUE(b);
  EXPECT_GT(b.granted.token, a.granted.token);
}

TEST_F(Sessions, OfManyProcessesAtOnceGrowTheFileTogether) {
  std::list<child> processes;
  for (int p = 0; p < 12; ++p) {
    processes.emplace_back([&](talk& t) {
      t.expect("go");
      std::list<named_lock> sessions;
      for (int i = 0; i < 10; ++i) sessions.emplace_back(name());
      t.say("open");
      t.expect("close");
    });
  }
  for (auto& p : processes) p.say("go");
  for (auto& p : processes) p.expect("open");
  EXPECT_GE(capacity(), 120U);
  EXPECT_GE(fs::file_size(name()), file::size_for(capacity()));
  named_lock lock(name());
  EXPECT_TRUE(lock.try_lock());
  for (auto& p : processes) p.say("close");
  for (auto& p : processes) EXPECT_EQ(p.wait(), 0);
}

TEST_F(Sessions, ThatEndGiveTheirPlaceToOthers) {
  for (int i = 0; i < 2000; ++i) {
    named_lock lock(name());
    ASSERT_TRUE(lock.try_lock());
  }
  EXPECT_EQ(fs::file_size(name()), 4096U);
  lock_process killed(name());
  for (int i = 0; i < 30; ++i) {
    lock_process p(name());
    ASSERT_TRUE(p.acquire(1min));
    p.kill();
  }
  EXPECT_EQ(fs::file_size(name()), 4096U) << "the dead keep their places";
}

TEST_F(Sessions, DoNotTakeThePlaceOfADeadHolder) {  // lockfile.hpp, F1
  unsigned pid = 0;
  {
    lock_process holder(name(), {.description = "the late holder"});
    ASSERT_TRUE(holder.acquire(0ns));
    pid = holder.pid();
    holder.kill();
  }
  std::list<named_lock> sessions;
  for (int i = 0; i < 50; ++i) sessions.emplace_back(name());
  ASSERT_TRUE(look().holder);
  EXPECT_FALSE(look().holder->alive) << "a newcomer makes the dead look alive";
  const grant g = sessions.back().acquire(0ns);
  EXPECT_EQ(g.how, grant_kind::abandoned);
  ASSERT_TRUE(g.previous);
  EXPECT_EQ(g.previous->pid, pid);
  EXPECT_EQ(g.previous->command, "the late holder");
}

// TORTURE 51

TEST_F(Sessions, InThePlaceOfADeadWaiterMoveTheLine) {  // line.hpp, L4
  const named_lock first(name());
  const mapped_lockfile file(name());
  file->slots[5].ticket.store(1);
  file->header.slot_hint.store(5);
  const std::uint64_t moves = file->header.moves;
  const named_lock in_its_place(name());
  EXPECT_EQ(file->slots[5].ticket, 0U);
  EXPECT_EQ(file->header.moves, moves + 1);
}

TEST_F(Sessions, BeyondFourThousandAreAClearErrorAndTheOthersKeepWorking) {
  EXPECT_TRUE(passes_in_child([&] {
    if (!limit_descriptors(4100)) {
      std::printf("left out: no more than a few descriptors are permitted\n");
      return;
    }
    std::list<named_lock> sessions;
    for (int i = 0; i < 4000; ++i) sessions.emplace_back(name());
    for (int i = 0; i < 2; ++i) {
      try {
        const named_lock lock(name());
        ADD_FAILURE() << "a session without a place";
      } catch (const lock_error& error) {
        EXPECT_EQ(error.code(), errc::too_many_sessions);
        EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("4000"), std::string::npos) << error.what();
      }
    }
    sessions.front().lock();
    EXPECT_FALSE(sessions.back().try_lock());
    EXPECT_EQ(look().holder->token, sessions.front().token());
    sessions.front().unlock();
    EXPECT_TRUE(sessions.back().try_lock());
    EXPECT_FALSE(sessions.front().try_lock());
    sessions.back().unlock();

    sessions.pop_front();
    named_lock next(name());
    EXPECT_TRUE(next.try_lock()) << "one has gone, so there is room for one";
  }));
}

// TORTURE 19: descriptors run out

TEST_F(Sessions, WithoutADescriptorAreAClearErrorAndTheNextTryWorks) {
  EXPECT_TRUE(passes_in_child([&] {
    std::list<named_lock> sessions;
    sessions.emplace_back(name());
    limit_descriptors(files_in("/proc/self/fd") + 10);
    std::error_code ec;
    while (auto lock = named_lock::open(name(), {}, ec)) sessions.push_back(*std::move(lock));
    EXPECT_EQ(ec, std::errc::too_many_files_open);
    const resources before = resources::in_use();
    for (int i = 0; i < 20; ++i) {
      for (const std::string& path : {name(), name() + "-new"}) {
        try {
          const named_lock lock(path);
          ADD_FAILURE();
        } catch (const lock_error& error) {
          EXPECT_EQ(error.code(), std::errc::too_many_files_open);
          EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
        }
      }
    }
    EXPECT_EQ(resources::in_use(), before);
    expect_all_work(sessions);
    for (int i = 0; i < 3; ++i) sessions.pop_back();
    EXPECT_TRUE(named_lock(name()).try_lock()) << "and with a descriptor it works again";
  }));
}

TEST_F(Sessions, ThatCannotReopenAReplacedFileSayWhyAndWorkLater) {
  EXPECT_TRUE(passes_in_child([&] {
    named_lock lock(name());
    const fencing_token last = lock.acquire(0ns).token;
    lock.unlock();
    fs::remove(name());
    outlive_the_last_look_at_the_path();
    limit_descriptors(0);
    std::error_code ec;
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(lock.acquire(0ns, {}, ec));
      EXPECT_EQ(ec, std::errc::too_many_files_open);
      EXPECT_FALSE(lock.is_held());
      EXPECT_EQ(lock.native_handle(), -1);
      lock.renew(ec);
      EXPECT_EQ(ec, errc::not_holder);
      lock.release(ec);
      EXPECT_EQ(ec, errc::not_holder);
    }
    limit_descriptors(100);
    EXPECT_GT(lock.acquire(0ns).token, last);
  }));
}

}  // namespace
}  // namespace lockbyfile
