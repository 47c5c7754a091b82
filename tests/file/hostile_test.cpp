// SPDX-License-Identifier: Apache-2.0
//
// A vandal with write permission scribbles into a lockfile that is in use: promise P10. Who
// may write can break the lock, as they could delete the file. But they crash nobody, hang
// nobody, and as long as they touch neither the word nor a deadline there is one holder.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/instant.hpp"
#include "file/layout.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seed.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using file::header;
using file::slot;

/// Numbers that tend to break things, and any others.
std::uint64_t nasty(std::mt19937_64& random) {
  const std::uint64_t famous[] = {0,
                                  1,
                                  23,
                                  24,
                                  4000,
                                  4095,
                                  ~std::uint64_t{0},
                                  ~std::uint64_t{0} - 1,
                                  std::uint64_t{1} << 63,
                                  (std::uint64_t{1} << 63) - 1,
                                  now(),
                                  now() + milliseconds(1),
                                  now() - milliseconds(1)};
  const std::uint64_t n = pick(random, 0, 2 * std::size(famous));
  return n < std::size(famous) ? famous[n] : random();
}

using vandalism = std::function<void(file::image&, std::mt19937_64&)>;

template <class T>
void scribble(std::atomic<T>& field, std::mt19937_64& random) {
  field.store(static_cast<T>(nasty(random)));
}

slot& any_slot(file::image& f, std::mt19937_64& random) {
  return f.slots[pick(random, 0, file::first_capacity - 1)];
}

/// What steers sessions that are open.
const vandalism of_the_line = [](file::image& f, std::mt19937_64& random) {
  header& h = f.header;
  switch (pick(random, 0, 18)) {
    case 0: return scribble(h.last_to_join, random);
    case 1: return scribble(h.tickets, random);
    case 2: h.opened_counter.store(h.word.load() >> 12); return scribble(h.opened_at, random);
    case 3: return scribble(h.opened_counter, random);
    case 4: return scribble(h.barge_until, random);
    case 5: return scribble(h.slot_hint, random);
    case 6: return scribble(h.wanted, random);
    case 7: return scribble(any_slot(f, random).ticket, random);
    case 8: return scribble(any_slot(f, random).waiting_since, random);
    case 9: return scribble(any_slot(f, random).next_look, random);
    case 10: return scribble(any_slot(f, random).wake, random);
    case 11: return scribble(any_slot(f, random).session, random);
    case 12: return scribble(h.moves, random);
    case 13: return scribble(h.laziest, random);
    case 14: return scribble(h.front, random);
    case 15: return scribble(h.standing_by, random);
    case 16: return h.usual_hold.store(static_cast<std::uint32_t>(pick(random, 0, 1'000'000)));
    case 17: return h.granted_on.store(static_cast<std::uint32_t>(pick(random, 0, 3)));
    default: return scribble(any_slot(f, random).token, random);
  }
};

/// What is only shown.
const vandalism of_the_show = [](file::image& f, std::mt19937_64& random) {
  slot& s = any_slot(f, random);
  switch (pick(random, 0, 4)) {
    case 0: return scribble(s.since, random);
    case 1: return scribble(s.lease, random);
    case 2: return scribble(s.pid, random);
    case 3: return scribble(s.last_grant, random);
    default: return scribble(s.command[pick(random, 0, 5)], random);
  }
};

/// What says whether it is a lockfile, and how large.
const vandalism of_the_head = [](file::image& f, std::mt19937_64& random) {
  header& h = f.header;
  switch (pick(random, 0, 6)) {
    case 0: h.signature[pick(random, 0, 63)] = static_cast<char>(random()); return;
    case 1: return scribble(h.format, random);
    case 2: return scribble(h.flags, random);
    case 3: return scribble(h.boot_id[pick(random, 0, 1)], random);
    case 4: return scribble(h.time_namespace, random);
    default: return scribble(h.capacity, random);
  }
};

/// Except counters near their end, after which there are no tokens left (tokens_test.cpp).
const vandalism of_the_word = [](file::image& f, std::mt19937_64& random) {
  const std::uint64_t word = std::max(f.header.word.load(), std::uint64_t{1001} << 12);
  switch (pick(random, 0, 5)) {
    case 0: f.header.word.store((word & ~std::uint64_t{4095}) | pick(random, 0, 4095)); return;
    case 1: f.header.word.store(word | 4095); return;
    case 2: f.header.word.store(word - (pick(random, 1, 1000) << 12)); return;
    case 3: f.header.word.store(word + (pick(random, 1, 1000) << 12)); return;
    case 4: f.header.word.store(0); return;
    default: f.header.word.store(word | 4001); return;
  }
};

const vandalism of_the_deadlines = [](file::image& f, std::mt19937_64& random) {
  scribble(any_slot(f, random).lease_deadline, random);
};

class Hostile : public LockTest {
 protected:
  struct watched {
    std::atomic<int> inside;
    std::atomic<int> violations;
    std::atomic<int> hangs;
    std::atomic<int> strange_errors;
    std::atomic<std::uint64_t> grants;
    std::atomic<bool> done;
  };

  static constexpr auto patience = 20ms;
  static constexpr auto too_long = patience + 2s;

  /// Acquires and releases until the test stops it, even after errors.
  void behave_well(watched& w, std::mt19937_64 random) const {
    std::optional<named_lock> lock;
    while (!w.done) {
      const auto begun = steady_now();
      std::error_code ec;
      if (!lock) lock = named_lock::open(name(), {}, ec);
      if (lock && lock->acquire(patience, {}, ec)) {
        if (w.inside.fetch_add(1) != 0) ++w.violations;
        if (pick(random, 0, 3) == 0) ::sched_yield();
        --w.inside;
        ++w.grants;
        lock->release(ec);
      }
      if (ec && ec.category() != lock_category()) ++w.strange_errors;
      if (steady_now() - begun > too_long) ++w.hangs;
      if (pick(random, 0, 20) == 0) lock.reset();
      if (ec) ::sched_yield();
    }
  }

  /// Lets the vandal commit `acts` while four processes share the lock and one looks on.
  void let_loose(const char* test, const std::vector<vandalism>& acts, watched& w) {
    auto random = seeded(test);
    { const named_lock made(name()); }
    const mapped_lockfile bytes(name());
    file::header& h = bytes->header;
    const auto mend_the_head = [&, flags = h.flags.load(), boot_0 = h.boot_id[0].load(),
                                boot_1 = h.boot_id[1].load(), ns = h.time_namespace.load()] {
      std::memcpy(h.signature, file::signature, sizeof h.signature);
      h.format.store(file::format_version);
      h.flags.store(flags);
      h.boot_id[0].store(boot_0);
      h.boot_id[1].store(boot_1);
      h.time_namespace.store(ns);
      if (h.capacity.load() != file::first_capacity) h.capacity.store(file::first_capacity);
    };
    std::list<child> processes;
    for (int p = 0; p < 4; ++p) {
      const auto seed = random();
      processes.emplace_back([&, seed](talk&) { behave_well(w, std::mt19937_64(seed)); });
    }
    child spectator([&](talk&) {
      while (!w.done) {
        std::error_code ec;
        const auto begun = steady_now();
        if (const auto state = observe(name(), {}, ec); state && state->holder)
          (void)state->holder->who.command.size();
        (void)list(directory());
        if (steady_now() - begun > too_long) ++w.hangs;
      }
    });
    const auto begun = steady_now();
    while (steady_now() - begun < 600ms) {
      acts[pick(random, 0, acts.size() - 1)](*bytes.operator->(), random);
      if (pick(random, 0, 7) == 0) ::sched_yield();
      if (pick(random, 0, 3) == 0) mend_the_head();  // or else everybody is soon shut out
    }
    w.done = true;
    for (auto& p : processes) EXPECT_EQ(p.wait(), 0) << "crashed";
    EXPECT_EQ(spectator.wait(), 0) << "crashed";
    EXPECT_EQ(w.hangs, 0);
    EXPECT_EQ(w.strange_errors, 0);
    EXPECT_GT(w.grants, 10U) << "no test at all";
  }

  void expect_that_it_works_again() const {
    lockbyfile::prune(directory());  // nobody has it open now
    named_lock first(name());
    named_lock second(name());
    EXPECT_TRUE(first.try_lock_for(1min));
    EXPECT_FALSE(second.try_lock());
  }
};

TEST_F(Hostile, ScribblingInTheLineMakesNoSecondHolder) {
  const shared_memory<watched> w;
  let_loose("Hostile.ScribblingInTheLineMakesNoSecondHolder", {of_the_line, of_the_show}, *w);
  EXPECT_EQ(w->violations, 0);
  expect_that_it_works_again();
}

TEST_F(Hostile, ScribblingInTheHeadMakesNoSecondHolder) {
  const shared_memory<watched> w;
  let_loose("Hostile.ScribblingInTheHeadMakesNoSecondHolder",
            {of_the_head, of_the_line, of_the_show}, *w);
  EXPECT_EQ(w->violations, 0);
}

TEST_F(Hostile, ScribblingInTheWordCrashesAndHangsNobody) {
  const shared_memory<watched> w;
  let_loose("Hostile.ScribblingInTheWordCrashesAndHangsNobody",
            {of_the_word, of_the_deadlines, of_the_head, of_the_line, of_the_show}, *w);
}

TEST_F(Hostile, ADeadlineThatWasMovedIsABreakOfWhichTheHolderLearns) {
  lock_process holder(name(), {.lease = 1h});
  ASSERT_TRUE(holder.acquire(0ns));
  lock_process waiter(name());
  queue(waiter);
  mapped_lockfile(name()).holder().lease_deadline.store(1);
  const outcome o = waiter.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_EQ(o.granted.how, grant_kind::expired);
  EXPECT_FALSE(holder.is_held());
  EXPECT_EQ(holder.renew(), errc::lease_lost);
  EXPECT_EQ(holder.release(), errc::lease_lost);
  EXPECT_TRUE(waiter.is_held());
}

TEST_F(Hostile, TicketsOfNobodyDelayNobody) {
  named_lock holder(name());
  holder.lock();
  lock_process waiter(name());
  queue(waiter);
  {
    const mapped_lockfile bytes(name());
    for (std::uint32_t s = 0; s < file::first_capacity; ++s) {
      std::uint64_t none = 0;
      bytes->slots[s].ticket.compare_exchange_strong(none, 0x1000 + s);
    }
    bytes->header.last_to_join.store(0);
  }
  const auto before = steady_now();
  holder.unlock();
  const outcome o = waiter.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_LT(o.ended - before, 1s);
  EXPECT_EQ(look().waiters.size(), 1U) << "only a session's ticket counts, here the idle holder's";
}

TEST_F(Hostile, AWordThatNamesALivingSessionIsHeldByNobodyForEver) {
  // The session does not know of its grant. It is alive and has no deadline to speak of.
  named_lock named(name());
  named.lock();
  const auto held = mapped_lockfile(name()).word();
  named.unlock();
  mapped_lockfile(name())->header.word.store(held.renewed().renewed().renewed().bits());
  lock_process other(name());
  EXPECT_EQ(other.acquire(10ms).error, errc::timed_out);
  EXPECT_FALSE(named.is_held());
  break_lock(name(), fencing_token());
  EXPECT_TRUE(other.acquire(1min)) << "an operator can open it";
}

/// Found by a reader: the token wrapped to 0, and the mark beside the file was spoilt for good.
TEST_F(Hostile, ACounterAtItsEndIsNotGrantedByASessionThatHasJustLookedAtThePath) {
  named_lock lock(name());
  fencing_token last;
  for (int i = 0; i < 30; ++i) {
    const fencing_token token = lock.acquire(0ns).token;
    EXPECT_GT(token, last);
    EXPECT_LT(token.value(), std::uint64_t{1} << 51);
    last = token;
    lock.unlock();
    mapped_lockfile(name())->header.word.store(~std::uint64_t{0} << 12);
  }
  EXPECT_FALSE(std::filesystem::exists(name() + ".tokens"));
}

/// Found by fuzzing: tokens that JSON cannot carry, and a lease below zero.
TEST_F(Hostile, NumbersThatNoGrantCanHaveHadAreNotShown) {
  named_lock lock(name(), {.lease = 1h});
  lock.lock();
  const mapped_lockfile bytes(name());
  bytes.holder().token.store(~std::uint64_t{0});
  bytes.holder().lease.store(~std::uint64_t{0} - 1);
  bytes.holder().last_grant.store(std::uint64_t{1} << 52);
  const auto state = look();
  ASSERT_TRUE(state.holder);
  EXPECT_FALSE(state.holder->token);
  EXPECT_GE(state.holder->lease, 0ns);
  EXPECT_TRUE(state.grants.empty());
}

TEST_F(Hostile, TextThatIsNoneIsShownWithoutACrash) {
  named_lock lock(name());
  lock.lock();
  const mapped_lockfile bytes(name());
  for (auto& word : bytes.holder().command) word.store(~std::uint64_t{0});
  const auto state = look();
  ASSERT_TRUE(state.holder);
  EXPECT_EQ(state.holder->who.command, std::string(48, '\xff')) << "48 bytes without an end";
}

}  // namespace
}  // namespace lockbyfile
