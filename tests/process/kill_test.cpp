// SPDX-License-Identifier: Apache-2.0
//
// SIGKILL at random instants of processes that acquire, renew, release and wait.
//
// Every holder leaves its token in a cell of shared memory while it holds the lock. A new holder
// that finds the cell full must have a grant that says that the last holder died.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seed.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

struct arena {
  std::atomic<std::uint64_t> holder;  // token, 0: nobody
  std::atomic<std::uint64_t> last_token;
  std::atomic<std::int64_t> last_grant;  // steady_now()
  std::atomic<std::uint64_t> grants;
  std::atomic<std::uint64_t> abandoned;
  std::atomic<std::uint64_t> gave_up;
  std::atomic<std::int64_t> longest_gap;
  // What must not be.
  std::atomic<unsigned> overlaps_on_entry;
  std::atomic<unsigned> overlaps_on_exit;
  std::atomic<unsigned> tokens_not_larger;
  std::atomic<unsigned> lost_grants;
  std::atomic<int> other_error;
};

class worker {
 public:
  worker(std::string name, arena& a, std::uint64_t seed)
      : name_(std::move(name)), arena_(a), random_(seed) {
    open();
  }

  void work_for_ever() {
    for (;;) {
      if (pick(random_, 0, 19) == 0) open();
      const bool is_patient = pick(random_, 0, 9) < 7;
      const auto patience = std::chrono::microseconds(pick(random_, 0, 3000));
      std::error_code ec;
      const auto granted = lock_->acquire(is_patient ? forever : patience, {}, ec);
      if (granted) {
        come_in(*granted);
        use();
        go_out(*granted);
        release();
      } else if (ec == errc::timed_out) {
        ++arena_.gave_up;
      } else {
        arena_.other_error = ec.value();
      }
    }
  }

 private:
  void open() {
    lock_.emplace(name_, lock_options{.lease = pick(random_, 0, 1) == 0 ? no_lease : 1h});
  }

  void come_in(const grant& g) {
    const std::uint64_t token = g.token.value();
    const bool left_behind = arena_.holder.exchange(token) != 0;
    if (left_behind && g.how != grant_kind::abandoned) ++arena_.overlaps_on_entry;
    if (arena_.last_token.exchange(token) >= token) ++arena_.tokens_not_larger;
    const std::int64_t now = steady_now().count();
    const std::int64_t gap = now - arena_.last_grant.exchange(now);
    if (gap > arena_.longest_gap) arena_.longest_gap = gap;
    ++arena_.grants;
    if (g.how == grant_kind::abandoned) ++arena_.abandoned;
  }

  void use() {
    switch (pick(random_, 0, 3)) {
      case 0: std::this_thread::yield(); break;
      case 1: std::this_thread::sleep_for(std::chrono::microseconds(pick(random_, 0, 300))); break;
      case 2: {
        std::error_code ec;
        lock_->renew(ec);
        if (ec) ++arena_.lost_grants;
        break;
      }
      default: break;
    }
    if (!lock_->is_held()) ++arena_.lost_grants;
  }

  void go_out(const grant& g) {
    std::uint64_t mine = g.token.value();
    if (!arena_.holder.compare_exchange_strong(mine, 0)) ++arena_.overlaps_on_exit;
  }

  void release() {
    if (pick(random_, 0, 9) == 0) return open();  // which destroys the old one
    std::error_code ec;
    lock_->release(ec);
    if (ec) ++arena_.lost_grants;
  }

  std::string name_;
  arena& arena_;
  std::mt19937_64 random_;
  std::optional<named_lock> lock_;
};

class RandomKills : public LockTest {
 protected:
  void play(const char* test, std::chrono::nanoseconds duration) {
    auto random = seeded(test);
    arena_->last_grant = steady_now().count();
    std::deque<std::optional<child>> workers(5);
    for (auto& w : workers) start(w, random());
    std::optional<child> witness;  // lives through it all
    start(witness, random());

    const auto end = steady_now() + duration;
    unsigned kills = 0;
    while (steady_now() < end && !is_stuck()) {
      std::this_thread::sleep_for(std::chrono::microseconds(pick(random, 0, 2000)));
      const std::size_t count = pick(random, 0, 9) == 0 ? workers.size() : 1;
      const std::size_t first = pick(random, 0, workers.size() - 1);
      for (std::size_t i = 0; i < count; ++i) workers[(first + i) % 5]->signal(SIGKILL);
      for (std::size_t i = 0; i < count; ++i) {
        auto& w = workers[(first + i) % 5];
        w->kill();
        start(w, random());
        ++kills;
      }
    }
    EXPECT_FALSE(is_stuck()) << "nobody was granted the lock for 10 s";
    for (auto& w : workers) w->kill();
    witness->kill();
    std::printf(
        "%u kills, %llu grants, of them %llu abandoned, %llu gave up, longest gap %.1f ms\n", kills,
        static_cast<unsigned long long>(arena_->grants),
        static_cast<unsigned long long>(arena_->abandoned),
        static_cast<unsigned long long>(arena_->gave_up),
        static_cast<double>(arena_->longest_gap) / 1e6);

    EXPECT_EQ(arena_->overlaps_on_entry, 0U);
    EXPECT_EQ(arena_->overlaps_on_exit, 0U);
    EXPECT_EQ(arena_->tokens_not_larger, 0U);
    EXPECT_EQ(arena_->lost_grants, 0U);
    EXPECT_EQ(arena_->other_error, 0)
        << make_error_code(errc(arena_->other_error.load())).message();
    EXPECT_GT(arena_->abandoned, 0U) << "nothing was tested";
    EXPECT_TRUE(look().waiters.empty());
    named_lock after(name());
    EXPECT_GT(after.acquire(1s).token.value(), arena_->last_token);
    EXPECT_EQ(mapped_lockfile(name())->header.capacity, file::first_capacity)
        << "dead sessions keep their slots";
  }

 private:
  void start(std::optional<child>& c, std::uint64_t seed) {
    c.emplace([this, seed](talk&) { worker(name(), *arena_, seed).work_for_ever(); });
  }
  bool is_stuck() { return steady_now() - std::chrono::nanoseconds(arena_->last_grant) > 10s; }

  shared_memory<arena> arena_;
};

using RandomKillsSlow = RandomKills;

// TORTURE 26, 29, 47, P1, P2, P5, P6

TEST_F(RandomKills, LeaveNoSecondHolderNoSmallerTokenAndNoStuckLock) {
  play("LeaveNoSecondHolderNoSmallerTokenAndNoStuckLock", 1s);
}

TEST_F(RandomKillsSlow, LeaveNoSecondHolderNoSmallerTokenAndNoStuckLock) {
  play("LeaveNoSecondHolderNoSmallerTokenAndNoStuckLock", 12s);
}

}  // namespace
}  // namespace lockbyfile
