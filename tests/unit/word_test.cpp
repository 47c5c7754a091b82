// SPDX-License-Identifier: Apache-2.0
//
// The transition function (src/file/word.hpp): W1 to W3.
#include "file/word.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "support/seed.hpp"

namespace lockbyfile::file {
namespace {

constexpr std::uint64_t counter_of_today = 1'790'000'000'000'000;

struct transition {
  std::string name;
  std::function<word(word)> apply;
};

std::vector<transition> transitions() {
  return {{"grant to the first slot", [](word w) { return w.granted_to(0); }},
          {"grant to the last slot", [](word w) { return w.granted_to(slot_limit - 1); }},
          {"renew", [](word w) { return w.renewed(); }},
          {"free", [](word w) { return w.freed(); }},
          {"break", [](word w) { return w.broken(); }},
          {"entomb", [](word w) { return w.entombed(); }}};
}

TEST(Word, EveryTransitionAddsOneToTheCounter) {  // W2, P2
  for (const auto& from : transitions()) {
    const word before = from.apply(word::free_at(counter_of_today));
    for (const auto& [name, apply] : transitions()) {
      EXPECT_EQ(apply(before).counter(), before.counter() + 1) << name << " after " << from.name;
      EXPECT_TRUE(apply(before).is_sane()) << name << " after " << from.name;
    }
  }
}

TEST(Word, NeverReturnsToAnOldValue) {  // W2: TORTURE 1
  auto random = seeded("Word.NeverReturnsToAnOldValue");
  const auto possible = transitions();
  std::set<std::uint64_t> seen;
  word w = word::free_at(counter_of_today);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(seen.insert(w.bits()).second) << "after " << i << " transitions";
    w = possible[pick(random, 0, possible.size() - 1)].apply(w);
  }
}

TEST(Word, TransitionsReachTheStateTheyName) {
  const word free = word::free_at(7);
  EXPECT_TRUE(free.is_free());
  EXPECT_EQ(free.counter(), 7U);

  const word held = free.granted_to(41);
  EXPECT_TRUE(held.is_held());
  EXPECT_EQ(held.slot(), 41U);
  EXPECT_TRUE(held.is_held_by(41));
  EXPECT_FALSE(held.is_held_by(40));
  EXPECT_FALSE(held.is_free());

  EXPECT_TRUE(held.renewed().is_held_by(41)) << "a renewal does not change the holder";
  EXPECT_TRUE(held.granted_to(3).is_held_by(3)) << "a takeover does";
  EXPECT_TRUE(held.freed().is_free());
  EXPECT_FALSE(held.freed().was_broken());
  EXPECT_TRUE(held.broken().is_free());
  EXPECT_TRUE(held.broken().was_broken());
  EXPECT_FALSE(held.broken().is_held());
  EXPECT_FALSE(held.broken().granted_to(3).was_broken()) << "told once";
  EXPECT_TRUE(free.entombed().is_tombstone());
  EXPECT_FALSE(free.entombed().is_held());
  EXPECT_TRUE(free.entombed().freed().is_free()) << "a tombstone can be revived";
}

TEST(Word, TellsApartAllSlotsThatThereCanBe) {
  const word free = word::free_at(counter_of_today);
  for (std::uint32_t slot = 0; slot < slot_limit; ++slot) {
    const word held = free.granted_to(slot);
    ASSERT_TRUE(held.is_held());
    ASSERT_EQ(held.slot(), slot);
    ASSERT_EQ(held.counter(), counter_of_today + 1) << "the slot spilt into the counter";
  }
}

TEST(Word, ZerosAreNoState) {  // W3: what a truncated file reads as. TORTURE 12
  EXPECT_FALSE(word().is_sane());
  EXPECT_FALSE(word::free_at(0).is_sane());
  EXPECT_TRUE(word::free_at(1).is_sane());
}

TEST(Word, ReservedHoldersAreNoState) {  // P10
  const std::uint64_t counter_bits = word::free_at(counter_of_today).bits();
  for (std::uint64_t holder = slot_limit + 1; holder < 4094; ++holder) {
    const word w(counter_bits | holder);
    ASSERT_FALSE(w.is_sane()) << holder;
    ASSERT_FALSE(w.is_held()) << holder;
    ASSERT_FALSE(w.is_free()) << holder;
    ASSERT_FALSE(w.is_tombstone()) << holder;
  }
  EXPECT_TRUE(word(counter_bits | 4095).is_tombstone());
  EXPECT_TRUE(word(counter_bits | 4095).is_sane());
}

TEST(Word, CountersAtTheEndAreNoState) {  // P2: a counter must not wrap
  EXPECT_TRUE(word::free_at(word::counter_end - 1).is_sane());
  EXPECT_FALSE(word::free_at(word::counter_end).is_sane());
  EXPECT_FALSE(word(~std::uint64_t{0}).is_sane());
  EXPECT_EQ(word::free_at(word::counter_end).granted_to(5).counter(), word::counter_end + 1)
      << "the transitions that may be under way still do not wrap";
}

TEST(Word, CountersLastBeyondTheYear2100AndAreExactInADouble) {  // DESIGN 4
  constexpr std::uint64_t microseconds_to_2100 = 130ULL * 365 * 24 * 3600 * 1'000'000;
  static_assert(word::counter_end > microseconds_to_2100);
  static_assert(word::counter_end < std::uint64_t{1} << 53);
}

}  // namespace
}  // namespace lockbyfile::file
