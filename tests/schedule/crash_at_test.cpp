// SPDX-License-Identifier: Apache-2.0
//
// SIGKILL at every named point of the protocol. For each point of the list (src/file/point.hpp),
// the test plays every chapter of a lock's life with a victim that dies at that point. The other
// processes must find a lock that works. A new point is a new test, and fails until a chapter leads
// to it.
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "file/point.hpp"
#include "schedule/staged_process.hpp"
#include "support/files.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class CrashAt : public LockTest, public ::testing::WithParamInterface<named_point> {
 public:
  /// A chapter: what happens up to the victim's death, or to its own end.
  struct chapter {
    const char* name;
    void (CrashAt::*play)();
  };
  static const chapter chapters[];

  void creates_the_file() { open(); }

  void completes_a_blank_file() {
    write_file(name(), "");
    open();
  }

  void takes_renews_and_releases() {
    open();
    ASSERT_TRUE(noted(victim->acquire(0ns)));
    EXPECT_EQ(victim->renew(), std::error_code());
    EXPECT_EQ(victim->release(), std::error_code());
  }

  void waits_for_its_turn() {
    lock_process& holder = other();
    ASSERT_TRUE(noted(holder.acquire(0ns)));
    holding.push_back(&holder);
    open();
    victim->begin_acquire(forever);
    const mapped_lockfile file(name());
    if (!eventually([&] { return victim->was_struck() || file.sleepers() == 1; }))
      throw std::runtime_error("it does not sleep");
    release_all();
    ASSERT_TRUE(noted(victim->end_acquire()));
  }

  void passes_the_lock_on() {
    open();
    ASSERT_TRUE(noted(victim->acquire(0ns)));
    wait_in_line(other());
    wait_in_line(other());
    EXPECT_EQ(victim->release(), std::error_code());
  }

  void stands_by_for_its_turn() {
    { const named_lock made(name()); }
    mapped_lockfile(name())->header.usual_hold = 10'000;
    waits_for_its_turn();
  }

  void passes_the_lock_on_to_one_that_stands_by() {
    open();
    ASSERT_TRUE(noted(victim->acquire(0ns)));
    wait_in_line(other());
    wait_in_line(other());
    stopped = waiting.front();
    stopped->stop();  // or a look of its own withdraws what is written for it
    const mapped_lockfile file(name());
    file->header.standing_by = file.slot_of(stopped->pid()).ticket.load();
    EXPECT_EQ(victim->release(), std::error_code());
  }

  void goes_past_a_stopped_head() {
    lock_process& holder = other();
    ASSERT_TRUE(noted(holder.acquire(0ns)));
    holding.push_back(&holder);
    lock_process& head = other();
    wait_in_line(head);
    open();
    head.stop();
    stopped = &head;
    victim->begin_acquire(forever);
    wait_for_line_or_death(2);
    release_all();
    ASSERT_TRUE(noted(victim->end_acquire()));
  }

  void takes_over_from_a_dead_holder() {
    lock_process& holder = other({.lease = 1h});
    ASSERT_TRUE(noted(holder.acquire(0ns)));
    holding.push_back(&holder);
    open();
    holding.clear();
    holder.kill();
    ASSERT_TRUE(noted(victim->acquire(forever)));
  }

  void breaks_the_lock() {
    lock_process& holder = other();
    ASSERT_TRUE(noted(holder.acquire(0ns)));
    holding.push_back(&holder);
    wait_in_line(other());
    victim->begin_break();
    EXPECT_EQ(victim->end_deed(), std::error_code());
  }

  void removes_the_file() {
    other();
    victim->begin_remove();
    EXPECT_EQ(victim->end_deed(), std::error_code());
  }

  void makes_room_for_more_sessions() {
    for (std::uint32_t i = 0; i < file::first_capacity; ++i) crowd.emplace_back(name());
    open();
  }

  void takes_a_token_ahead_of_the_clock() {
    { const named_lock made(name()); }
    last = fencing_token(put_ahead_of_the_clock(name(), 1h));
    open();
    ASSERT_TRUE(noted(victim->acquire(0ns)));
  }

  // --- the stage ---

  void open() { victim->open(); }

  lock_process& other(const lock_options& options = {}) {
    return others.emplace_back(name(), options);
  }

  outcome noted(outcome o) {
    if (o) {
      EXPECT_GT(o.granted.token, last) << "P2";
      last = o.granted.token;
    }
    return o;
  }

  void wait_in_line(lock_process& p) {
    queue(p);
    waiting.push_back(&p);
  }

  /// The victim may die before it can be seen in the wait queue.
  void wait_for_line_or_death(std::size_t count) {
    if (!eventually([&] { return victim->was_struck() || look().waiters.size() == count; }))
      throw std::runtime_error("no line of " + std::to_string(count));
  }

  void release_all() {
    for (lock_process* h : holding) {
      const std::error_code ec = h->release();
      EXPECT_TRUE(!ec || ec == errc::lease_lost) << ec.message();
    }
    holding.clear();
  }

  /// All are served in time, none is left in the wait queue, and the lock excludes.
  void expect_a_lock_that_works() {
    const auto death = steady_now();
    if (stopped != nullptr) stopped->go_on();
    release_all();
    for (const outcome& o : serve(waiting)) {
      EXPECT_GT(o.granted.token, last) << "P2";
      EXPECT_LT(o.ended - death, 1s) << "P5, P6: a wide margin";
      last = o.granted.token;
    }
    crowd.clear();
    lock_process first(name());
    lock_process second(name());
    ASSERT_TRUE(noted(first.acquire(1s))) << "P5";
    EXPECT_EQ(second.acquire(0ns).error, errc::timed_out) << "P1";
    queue(second);
    EXPECT_EQ(first.release(), std::error_code());
    ASSERT_TRUE(noted(second.end_acquire())) << "P6";
    EXPECT_EQ(second.release(), std::error_code());
    EXPECT_TRUE(look().waiters.empty());
    EXPECT_FALSE(look().holder);
  }

  /// Plays the chapter; whether the victim died at the point.
  bool play(const chapter& c) {
    fs::remove(name());
    fs::remove(name() + ".tokens");
    last = {};
    victim.emplace(lock_process::not_yet_open, name());
    victim->kill_at(GetParam().value);
    try {
      (this->*c.play)();
    } catch (const gone&) {
      if (!victim->was_struck()) throw;
    }
    const bool struck = victim->was_struck();
    victim->kill();
    if (!HasFatalFailure()) expect_a_lock_that_works();
    others.clear();
    holding.clear();
    waiting.clear();
    crowd.clear();
    stopped = nullptr;
    return struck;
  }

  std::optional<staged_process> victim;
  std::deque<lock_process> others;
  std::deque<named_lock> crowd;
  std::vector<lock_process*> holding;
  std::vector<lock_process*> waiting;
  lock_process* stopped = nullptr;
  fencing_token last;
};

const CrashAt::chapter CrashAt::chapters[] = {
    {"creates the file", &CrashAt::creates_the_file},
    {"completes a blank file", &CrashAt::completes_a_blank_file},
    {"takes, renews and releases", &CrashAt::takes_renews_and_releases},
    {"waits for its turn", &CrashAt::waits_for_its_turn},
    {"passes the lock on", &CrashAt::passes_the_lock_on},
    {"stands by for its turn", &CrashAt::stands_by_for_its_turn},
    {"passes the lock on to one that stands by",
     &CrashAt::passes_the_lock_on_to_one_that_stands_by},
    {"goes past a stopped head", &CrashAt::goes_past_a_stopped_head},
    {"takes over from a dead holder", &CrashAt::takes_over_from_a_dead_holder},
    {"breaks the lock", &CrashAt::breaks_the_lock},
    {"removes the file", &CrashAt::removes_the_file},
    {"makes room for more sessions", &CrashAt::makes_room_for_more_sessions},
    {"takes a token ahead of the clock", &CrashAt::takes_a_token_ahead_of_the_clock},
};

TEST_P(CrashAt, LeavesALockThatWorks) {
  int reached = 0;
  for (const chapter& c : chapters) {
    SCOPED_TRACE(c.name);
    if (play(c)) ++reached;
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(reached, 0) << "no chapter leads to this point: write one";
}

INSTANTIATE_TEST_SUITE_P(Points, CrashAt, ::testing::ValuesIn(all_points),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace lockbyfile
