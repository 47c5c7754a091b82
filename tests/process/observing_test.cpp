// SPDX-License-Identifier: Apache-2.0
//
// observe: reports everything, takes nothing, disturbs nobody.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <system_error>

#include "support/files.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

class Observing : public LockTest {
 protected:
  [[nodiscard]] std::string bytes() const {
    std::ifstream in(name(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(Observing, ShowsTheHolder) {
  const auto before = std::chrono::system_clock::now();
  lock_process holder(name(), {.lease = 1h, .description = "the holder"});
  const outcome held = holder.acquire(0ns);
  const lock_state state = look();
  EXPECT_EQ(state.path, name());
  ASSERT_TRUE(state.holder);
  EXPECT_EQ(state.holder->who, (party{holder.pid(), ::geteuid(), "the holder"}));
  EXPECT_EQ(state.holder->token, held.granted.token);
  EXPECT_EQ(state.holder->lease, 1h);
  EXPECT_LE(state.holder->lease_left, 1h);
  EXPECT_GT(state.holder->lease_left, 59min);
  EXPECT_TRUE(state.holder->alive);
  EXPECT_GE(state.holder->since, before - 50ms);  // the coarse clock may be a few ms behind
  EXPECT_LE(state.holder->since, std::chrono::system_clock::now() + 1ms);
  EXPECT_EQ(state.holder->since, state.grants.front().since);
  EXPECT_FALSE(state.is_open());
}

TEST_F(Observing, ShowsTheProgramsNameWhereThereIsNoDescription) {
  const named_lock lock(name());
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  EXPECT_EQ(look().holder->who.command, program_invocation_short_name);
}

TEST_F(Observing, CutsALongDescription) {
  lock_process holder(name(), {.description = std::string(100, 'x')});
  ASSERT_TRUE(holder.acquire(0ns));
  EXPECT_EQ(look().holder->who.command, std::string(47, 'x'));
}

TEST_F(Observing, ShowsWhetherTheHolderIsDead) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  holder.kill();
  const lock_state state = look();
  ASSERT_TRUE(state.holder) << "nobody has taken the lock over yet";
  EXPECT_FALSE(state.holder->alive);
  EXPECT_TRUE(state.is_open());
}

TEST_F(Observing, ShowsAnExpiredHolderUntilSomebodyTakesOver) {
  lock_process holder(name(), {.lease = 1ns});
  ASSERT_TRUE(holder.acquire(0ns));
  const lock_state state = look();
  ASSERT_TRUE(state.holder);
  EXPECT_EQ(state.holder->lease_left, 0ns);
  EXPECT_TRUE(state.holder->alive);
  EXPECT_TRUE(state.is_open());
}

TEST_F(Observing, ShowsTheWaitersInOrderAndHowLongTheyWait) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  std::deque<lock_process> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back(name(), lock_options{.description = "waiter " + std::to_string(i)});
    queue(waiters.back());
  }
  const lock_state state = look();
  ASSERT_EQ(state.waiters.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(state.waiters[i].who.pid, waiters[i].pid());
    EXPECT_EQ(state.waiters[i].who.command, "waiter " + std::to_string(i));
    EXPECT_GT(state.waiters[i].waiting, 0ns);
    if (i > 0) {
      EXPECT_GE(state.waiters[i - 1].waiting, state.waiters[i].waiting);
    }
  }
}

TEST_F(Observing, ShowsTheLastGrantsNewestFirstWithHowTheyCame) {
  lock_process brief(name(), {.lease = 1ns, .description = "brief"});
  lock_process mortal(name(), {.description = "mortal"});
  lock_process last(name(), {.description = "last"});
  const outcome a = brief.acquire(0ns);
  const outcome b = mortal.acquire(0ns);
  mortal.kill();
  const outcome c = last.acquire(0ns);
  const lock_state state = look();
  ASSERT_EQ(state.grants.size(), 3U);
  EXPECT_EQ(state.grants[0].token, c.granted.token);
  EXPECT_EQ(state.grants[0].how, grant_kind::abandoned);
  EXPECT_EQ(state.grants[0].who.command, "last");
  EXPECT_EQ(state.grants[1].token, b.granted.token);
  EXPECT_EQ(state.grants[1].how, grant_kind::expired);
  EXPECT_EQ(state.grants[1].who.command, "mortal");
  EXPECT_EQ(state.grants[2].token, a.granted.token);
  EXPECT_EQ(state.grants[2].how, grant_kind::free);
  EXPECT_EQ(state.grants[2].who.pid, brief.pid());
}

TEST_F(Observing, RemembersTheLastGrantOfEachOfTheLastEightSessions) {
  std::vector<fencing_token> last;
  for (int i = 0; i < 20; ++i) {
    named_lock lock(name(), {.description = "session " + std::to_string(i)});
    lock.lock();
    lock.unlock();
    last.insert(last.begin(), lock.acquire(0ns).token);
  }
  const lock_state state = look();
  EXPECT_FALSE(state.holder);
  ASSERT_EQ(state.grants.size(), 8U);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(state.grants[i].token, last[i]);
    EXPECT_EQ(state.grants[i].who.command, "session " + std::to_string(19 - i));
  }
}

TEST_F(Observing, TakesNoGrantOfAnEarlierSessionForOneOfItsSuccessorInTheSlot) {
  named_lock(name()).lock();
  ASSERT_EQ(look().grants.size(), 1U);
  mapped_lockfile(name())->header.slot_hint.store(0);
  const named_lock next(name());
  EXPECT_TRUE(look().grants.empty());
}

TEST_F(Observing, ShowsNoGrantThatWasOnlyTried) {
  named_lock lock(name());
  const fencing_token granted = lock.acquire(0ns).token;
  lock.unlock();
  const mapped_lockfile bytes(name());
  bytes->slots[0].token.store(granted.value() + 2);  // as a try does that then fails
  EXPECT_TRUE(look().grants.empty());
  bytes->slots[0].token.store(granted.value());
  ASSERT_EQ(look().grants.size(), 1U);
}

TEST_F(Observing, ChangesNoByteAndLeavesNothingBehind) {
  lock_process holder(name(), {.lease = 1h});
  ASSERT_TRUE(holder.acquire(0ns));
  (void)look();
  const std::string before = bytes();
  const auto modified = std::filesystem::last_write_time(name());
  const resources in_use = resources::in_use();
  for (int i = 0; i < 100; ++i) (void)look();
  EXPECT_EQ(bytes(), before);
  EXPECT_EQ(std::filesystem::last_write_time(name()), modified);
  EXPECT_EQ(resources::in_use(), in_use);
  EXPECT_TRUE(holder.is_held());
  EXPECT_EQ(holder.release(), std::error_code());
}

TEST_F(Observing, DoesNotTakeALifelineFromANewSession) {  // it shows in no slot
  const named_lock lock(name());
  const auto capacity = mapped_lockfile(name())->header.capacity.load();
  for (std::uint32_t i = 0; i < 2 * capacity; ++i) (void)look();
  EXPECT_EQ(mapped_lockfile(name())->header.capacity.load(), capacity);
}

TEST_F(Observing, NeedsNoPermissionToWrite) {
  lock_process holder(name());
  ASSERT_TRUE(holder.acquire(0ns));
  std::filesystem::permissions(
      name(), std::filesystem::perms::owner_read | std::filesystem::perms::others_read);
  std::filesystem::permissions(directory(), std::filesystem::perms::owner_all |
                                                std::filesystem::perms::others_read |
                                                std::filesystem::perms::others_exec);
  child other_user([this](talk& t) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0))
      throw std::runtime_error("cannot become another user");
    const lock_state state = look();
    t.say(state.holder && state.holder->alive ? "held" : "free");
  });
  EXPECT_EQ(other_user.hear(), "held");
}

TEST_F(Observing, ALockThatDoesNotExistIsAnErrorAndCreatesNone) {
  std::error_code ec;
  EXPECT_FALSE(observe(name(), {}, ec));
  EXPECT_EQ(ec, errc::not_found);
  EXPECT_THROW((void)look(), lock_error);
  EXPECT_FALSE(std::filesystem::exists(name()));
}

TEST_F(Observing, ALockThatChangesAllTheTimeGivesOneMomentOfIt) {
  // Of a holder all parts belong together: its token is in the list of grants with its pid.
  const auto hammer = [this](talk&) {
    named_lock lock(name());
    for (;;) {
      lock.lock();
      lock.unlock();
    }
  };
  child first(hammer);
  child second(hammer);
  ASSERT_TRUE(eventually([&] {
    std::error_code ec;
    return observe(name(), {}, ec).has_value();
  }));
  fencing_token last;
  unsigned seen = 0;
  for (int i = 0; i < 3000; ++i) {
    const lock_state state = look();
    if (!state.holder) continue;
    ++seen;
    EXPECT_TRUE(state.holder->alive);
    EXPECT_GE(state.holder->token, last);
    last = state.holder->token;
    const unsigned pid = state.holder->who.pid;
    EXPECT_TRUE(pid == static_cast<unsigned>(first.pid()) ||
                pid == static_cast<unsigned>(second.pid()));
  }
  EXPECT_GT(seen, 0U);
}

}  // namespace
}  // namespace lockbyfile
