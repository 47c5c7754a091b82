// SPDX-License-Identifier: Apache-2.0
//
// The riddle of 2015: of all contenders that saw the same dead grant, exactly one gets the lock.
//
// Chance rarely puts two processes between the look at a dead grant and the compare-exchange. Here
// all 64 contenders, 16 in each of 4 processes, meet there in every round. The meeting point is the
// call that asks for the holder's lifeline, after the word and the deadline were read. There each
// contender waits for all others (linux/system_calls.hpp).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <semaphore.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "file/lifeline.hpp"
#include "linux/system_calls.hpp"
#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/seed.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

constexpr unsigned processes = 4;
constexpr unsigned threads = 16;
constexpr unsigned contenders = processes * threads;

struct meeting {
  pthread_barrier_t begin;    // the contenders and the test
  pthread_barrier_t all_saw;  // the contenders, between look and take
  sem_t all_tried;            // the test waits for it,
  sem_t release;              // and the winner for this
  std::atomic<bool> over;
  std::atomic<unsigned> tried;
  std::atomic<unsigned> winners;
  std::atomic<unsigned> how;  // bit 1 << grant_kind
  std::atomic<std::uint64_t> token;
  std::atomic<unsigned> surprises;  // neither a grant nor an empty-handed try
};

void make(pthread_barrier_t& barrier, unsigned parties) {
  pthread_barrierattr_t shared;
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&barrier, &shared, parties);
  pthread_barrierattr_destroy(&shared);
}

void await(sem_t& event) {
  while (sem_wait(&event) != 0) {
  }
}

pthread_barrier_t* all_saw = nullptr;
int (*real_fcntl_lock)(int, int, struct flock*) = nullptr;
thread_local bool has_yet_to_see = false;

int look_together(int fd, int command, struct flock* lock) {
  const int result = real_fcntl_lock(fd, command, lock);
  if (command == F_OFD_GETLK && has_yet_to_see) {
    has_yet_to_see = false;
    pthread_barrier_wait(all_saw);
  }
  return result;
}

void contend(const std::string& name, meeting& m) {
  named_lock lock(name);
  for (;;) {
    pthread_barrier_wait(&m.begin);
    if (m.over) return;
    has_yet_to_see = true;
    std::error_code ec;
    const auto granted = lock.acquire(0ns, {}, ec);
    if (granted) {
      m.winners += 1;
      m.how |= 1U << static_cast<unsigned>(granted->how);
      m.token = granted->token.value();
    } else if (ec != errc::timed_out) {
      m.surprises += 1;
    }
    if (m.tried.fetch_add(1) + 1 == contenders) sem_post(&m.all_tried);
    if (granted) {
      await(m.release);
      lock.unlock();
    }
  }
}

class Contenders : public LockTest {
 protected:
  Contenders() {
    make(meeting_->begin, contenders + 1);
    make(meeting_->all_saw, contenders);
    sem_init(&meeting_->all_tried, 1, 0);
    sem_init(&meeting_->release, 1, 0);
    for (unsigned p = 0; p < processes; ++p) {
      contending_.emplace_back([this](talk&) {
        all_saw = &meeting_->all_saw;
        real_fcntl_lock = sys.fcntl_lock;
        sys.fcntl_lock = look_together;
        std::vector<std::jthread> all(threads);
        for (auto& t : all) t = std::jthread([this] { contend(name(), *meeting_); });
      });
    }
  }

  void play(const char* test, unsigned most_rounds, std::chrono::nanoseconds most_time) {
    auto random = seeded(test);
    const auto end = steady_now() + most_time;
    std::array<unsigned, 3> rounds{};
    unsigned round = 0;
    for (; round < most_rounds && steady_now() < end && !HasFailure(); ++round) {
      const auto kind = pick(random, 0, 9);
      kind < 6 ? leave_expired() : kind < 9 ? leave_without_lifeline() : leave_killed();
      ++rounds[kind < 6 ? 0 : kind < 9 ? 1 : 2];

      meeting_->tried = 0;
      meeting_->winners = 0;
      meeting_->how = 0;
      pthread_barrier_wait(&meeting_->begin);
      await(meeting_->all_tried);

      EXPECT_EQ(meeting_->winners, 1U) << "in round " << round;
      const auto how = kind < 6 ? grant_kind::expired : grant_kind::abandoned;
      EXPECT_EQ(meeting_->how, 1U << static_cast<unsigned>(how));
      EXPECT_EQ(meeting_->surprises, 0U);
      const fencing_token token(meeting_->token);
      EXPECT_GT(token, left_) << "in round " << round;
      for (unsigned i = 0; i < meeting_->winners; ++i) sem_post(&meeting_->release);
    }
    std::printf("%u rounds of %u contenders: %u expired, %u cut off, %u killed\n", round,
                contenders, rounds[0], rounds[1], rounds[2]);
    meeting_->over = true;
    pthread_barrier_wait(&meeting_->begin);
    for (child& c : contending_) EXPECT_EQ(c.wait(), 0);
  }

 private:
  // Each leaves a grant that is over, once the last winner has released its own.

  void leave_expired() {
    brief_.reset();
    brief_.emplace(name(), lock_options{.lease = 1ns});
    left_ = brief_->acquire(forever).token;
  }

  void leave_without_lifeline() {
    brief_.emplace(name());
    left_ = brief_->acquire(forever).token;
    file::let_go(brief_->native_handle(), file::all_lifelines);
  }

  void leave_killed() {
    brief_.reset();
    lock_process mortal(name());
    const outcome held = mortal.acquire(forever);
    left_ = held.granted.token;
    mortal.kill();
  }

  shared_memory<meeting> meeting_;
  std::deque<child> contending_;
  std::optional<named_lock> brief_;
  fencing_token left_;  // of the grant that is over
};

using ContendersSlow = Contenders;

// TORTURE 1, P1, P2

TEST_F(Contenders, OfAllWhoSawTheSameDeadGrantExactlyOneGetsTheLock) {
  play("OfAllWhoSawTheSameDeadGrantExactlyOneGetsTheLock", 100, 2s);
}

TEST_F(ContendersSlow, OfAllWhoSawTheSameDeadGrantExactlyOneGetsTheLock) {
  play("OfAllWhoSawTheSameDeadGrantExactlyOneGetsTheLock", 10'000, 15s);
}

}  // namespace
}  // namespace lockbyfile
