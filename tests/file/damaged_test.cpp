// SPDX-License-Identifier: Apache-2.0
//
// What is at the lockfile's path and was a lockfile once: truncated, appended to, filled
// with other numbers or with random bytes. TORTURE 11, promise P10: it is repaired if
// nobody has it open; else there is a clear error, or no harm, and it heals.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <ostream>
#include <random>
#include <string>
#include <system_error>

#include "file/layout.hpp"
#include "support/deeds.hpp"
#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seed.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct damage {
  std::string name;
  std::function<void(const std::string& path)> happen;
  friend std::ostream& operator<<(std::ostream& out, const damage& d) { return out << d.name; }
};

damage truncated_to(std::size_t size) {
  return {"TruncatedTo" + std::to_string(size),
          [size](const std::string& p) { truncate_file(p, size); }};
}

template <class Change>
damage changed(const std::string& what, Change change) {
  return {what, [change](const std::string& p) {
            const mapped_lockfile bytes(p);
            change(bytes->header);
          }};
}

using file::word;

const damage damages[] = {
    truncated_to(0),
    truncated_to(1),
    truncated_to(63),
    truncated_to(64),
    truncated_to(100),
    truncated_to(136),
    truncated_to(1024),
    truncated_to(4095),
    {"Appended", [](const std::string& p) { append_to_file(p, std::string(100, 'x')); }},
    {"AppendedMuch", [](const std::string& p) { append_to_file(p, std::string(1'000'000, 'x')); }},
    {"MadeHugeAndSparse", [](const std::string& p) { truncate_file(p, std::size_t{1} << 40); }},
    {"TruncatedAndGrownAgain",
     [](const std::string& p) {
       truncate_file(p, 0);
       truncate_file(p, 4096);
     }},
    {"CutAndGrownAgain",
     [](const std::string& p) {
       truncate_file(p, 512);
       truncate_file(p, 4096);
     }},
    changed("WordOfZeros", [](file::header& h) { h.word.store(0); }),
    changed("WordOfOnes", [](file::header& h) { h.word.store(~std::uint64_t{0}); }),
    changed("WordWithAReservedHolder", [](file::header& h) { h.word.fetch_or(4001); }),
    changed("WordWithAHolderWhereIsNoRoom", [](file::header& h) { h.word.fetch_or(3000); }),
    changed("WordOfATombstone", [](file::header& h) { h.word.fetch_or(4095); }),
    changed("WordAtTheEnd",
            [](file::header& h) { h.word.store(word::free_at(word::counter_end).bits()); }),
    changed("NoCapacity", [](file::header& h) { h.capacity.store(0); }),
    changed("LittleCapacity", [](file::header& h) { h.capacity.store(1); }),
    changed("MoreCapacityThanRoom", [](file::header& h) { h.capacity.store(4000); }),
    changed("HugeCapacity", [](file::header& h) { h.capacity.store(~0U); }),
    changed("AnotherBoot", [](file::header& h) { h.boot_id[0].fetch_add(1); }),
    changed("NoBoot",
            [](file::header& h) {
              h.boot_id[0].store(0);
              h.boot_id[1].store(0);
            }),
    changed("AnotherTimeNamespace", [](file::header& h) { h.time_namespace.fetch_add(1); }),
    changed("HintOfOnes", [](file::header& h) { h.slot_hint.store(~0U); }),
    changed("LineOfOnes",
            [](file::header& h) {
              h.last_to_join.store(~std::uint64_t{0});
              h.tickets.store(~std::uint64_t{0});
              h.opened_counter.store(h.word.load() >> 12);
              h.opened_at.store(~std::uint64_t{0});
              h.barge_until.store(~std::uint64_t{0});
              h.wanted.store(~std::uint64_t{0});
              h.standing_by.store(~std::uint64_t{0});
              h.usual_hold.store(~std::uint32_t{0});
              h.granted_on.store(~std::uint32_t{0});
              h.moves.store(~std::uint64_t{0});
              h.laziest.store(~std::int64_t{0});
              h.front.store(~std::uint64_t{0});
            }),
};

class Damaged : public LockTest, public ::testing::WithParamInterface<damage> {
 protected:
  /// A lock that was used, and the token of its last grant.
  [[nodiscard]] fencing_token used() const {
    named_lock lock(name());
    const fencing_token last = lock.acquire(0ns).token;
    return last;
  }

  /// The lock excludes, passes on and counts.
  void expect_a_working_lock(fencing_token last) const {
    named_lock first(name());
    lock_process second(name());
    ASSERT_TRUE(first.try_lock_for(1min));
    EXPECT_GT(first.token(), last) << "P2";
    EXPECT_EQ(second.acquire(0ns).error, errc::timed_out) << "P1";
    queue(second);
    first.unlock();
    const outcome o = second.end_acquire();
    ASSERT_TRUE(o);
    EXPECT_GT(o.granted.token, first.token());
    EXPECT_EQ(second.release(), std::error_code());
  }
};

TEST_P(Damaged, IsRepairedByTheNextOpenerIfNobodyHasItOpen) {
  const fencing_token last = used();
  GetParam().happen(name());
  expect_a_working_lock(last);
}

TEST_P(Damaged, GivesALookOrAClearError) {
  (void)used();
  GetParam().happen(name());
  const std::string before = fs::file_size(name()) < 2'000'000 ? content_of(name()) : "";
  const std::error_code ec = code_of(observe_it, name());
  EXPECT_TRUE(!ec || ec == errc::not_found || ec == errc::damaged) << ec.message();
  EXPECT_EQ(fs::file_size(name()) < 2'000'000 ? content_of(name()) : "", before)
      << "looking changes nothing";
}

TEST_P(Damaged, CannotBeBrokenOpen) {
  (void)used();
  GetParam().happen(name());
  const std::error_code ec = code_of(break_it, name());
  if (!ec) return;  // it looked held
  EXPECT_TRUE(ec == errc::token_mismatch || ec == errc::not_found || ec == errc::damaged)
      << ec.message();
}

TEST_P(Damaged, CanBeRemoved) {
  const fencing_token last = used();
  GetParam().happen(name());
  EXPECT_EQ(code_of(remove_it, name()), std::error_code());
  EXPECT_FALSE(fs::exists(name()));
  expect_a_working_lock(last);
}

TEST_P(Damaged, CanBePrunedOrIsPassedOver) {
  const fencing_token last = used();
  GetParam().happen(name());
  (void)list(directory());
  (void)prune(directory());
  expect_a_working_lock(last);
}

TEST_P(Damaged, IsAClearErrorOrHarmlessWhileInUse) {
  lock_process holder(name());
  lock_process idle(name());
  const outcome held = holder.acquire(0ns);
  ASSERT_TRUE(held);
  GetParam().happen(name());
  for (const deed* d : {&open_it, &observe_it, &remove_it}) {  // a break may well work
    SCOPED_TRACE(d->name);
    const std::error_code ec = code_of(*d, name());
    EXPECT_TRUE(!ec || ec == errc::damaged || ec == errc::in_use || ec == errc::clock_mismatch ||
                ec == errc::not_found || ec == errc::wrong_engine)
        << ec.message();
  }
  const outcome other = idle.acquire(20ms);
  if (holder.is_held()) {
    EXPECT_TRUE(other.error) << "two holders";
  } else {
    EXPECT_EQ(holder.release(), errc::lease_lost);
  }
  EXPECT_FALSE(other && holder.is_held());
}

TEST_P(Damaged, HealsWhenTheLastSessionHasGone) {
  {
    named_lock first(name());
    named_lock second(name());
    (void)first.acquire(0ns);
    GetParam().happen(name());
  }
  named_lock third(name());
  EXPECT_TRUE(third.try_lock_for(1min));
}

/// Sessions that find the state to be none let go of the file when they acquire, and so it
/// heals while they stay open (docs/guarantees.md, "Damage").
class DamagedAndOpen : public Damaged {
 protected:
  void expect_healing(std::chrono::nanoseconds patience) {
    named_lock first(name());
    named_lock second(name());
    const fencing_token last = first.acquire(0ns).token;
    first.unlock();
    GetParam().happen(name());
    outlive_the_last_look_at_the_path();
    std::error_code ec;
    const bool looks_well = observe(name(), {}, ec).has_value() || ec == errc::clock_mismatch;

    for (named_lock* session : {&first, &second}) {
      if (session->acquire(patience, {}, ec)) {
        EXPECT_GT(session->token(), last) << "P2";
        session->unlock();
      } else {
        EXPECT_TRUE(ec == errc::damaged || (ec == errc::timed_out && patience == 0ns))
            << ec.message();
      }
    }
    ASSERT_TRUE(first.acquire(patience, {}, ec)) << "it did not heal: " << ec.message();
    EXPECT_GT(first.token(), last) << "P2";
    EXPECT_FALSE(second.acquire(0ns, {}, ec)) << "P1";
    if (looks_well) return;  // openers may be refused until the sessions are gone
    named_lock third(name());
    EXPECT_FALSE(third.try_lock()) << "P1";
    first.unlock();
    EXPECT_TRUE(third.try_lock());
  }
};

TEST_P(DamagedAndOpen, HealsAsSessionsWaitForIt) { expect_healing(5ms); }

TEST_P(DamagedAndOpen, HealsAsSessionsTryIt) { expect_healing(0ns); }

INSTANTIATE_TEST_SUITE_P(Ways, Damaged, ::testing::ValuesIn(damages),
                         [](const auto& p) { return p.param.name; });
INSTANTIATE_TEST_SUITE_P(Ways, DamagedAndOpen, ::testing::ValuesIn(damages),
                         [](const auto& p) { return p.param.name; });

// --- any bytes ------------------------------------------------------------------------------

class RandomBytes : public LockTest {
 protected:
  /// A lockfile as it may be found: used, then spoilt in one of many ways.
  static void spoil(std::string& bytes, std::mt19937_64& random) {
    const auto spoilt = [&](std::size_t from, std::size_t to, std::uint64_t how_many) {
      for (std::uint64_t i = 0; i < how_many; ++i)
        bytes[pick(random, from, to - 1)] = static_cast<char>(random());
    };
    switch (pick(random, 0, 5)) {
      case 0: spoilt(0, bytes.size(), pick(random, 1, 4096)); break;
      case 1: spoilt(64, bytes.size(), pick(random, 1, 1000)); break;
      case 2: spoilt(96, 512, pick(random, 1, 100)); break;               // past the clock
      case 3: spoilt(128, 136, pick(random, 1, 8)); break;                // the word
      case 4: spoilt(192, 240, pick(random, 1, 20)); break;               // the line
      default: spoilt(1024, bytes.size(), pick(random, 1, 3000)); break;  // slots
    }
    if (pick(random, 0, 3) == 0) bytes.resize(pick(random, 0, 8192));
  }
};

TEST_F(RandomBytes, GiveAClearErrorOrARepair) {
  auto random = seeded("RandomBytes.GiveAClearErrorOrARepair");
  { named_lock(name()).lock(); }
  const std::string good = content_of(name());
  int working = 0;
  for (int round = 0; round < 700; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = good;
    spoil(bytes, random);
    fs::remove(name());  // rewriting it in place would make ext4 write to the disk
    fs::remove(name() + ".tokens");
    write_file(name(), bytes);

    const deed& d = *all_deeds[pick(random, 1, 3)];
    if (const std::error_code ec = code_of(d, name())) {
      ASSERT_TRUE(ec.category() == lock_category()) << ec.message();
      if (ec == errc::wrong_engine) {
        ASSERT_EQ(content_of(name()), bytes) << "not ours to change";
      }
    } else if (d.name == "observe") {
      ASSERT_EQ(content_of(name()), bytes);
    }
    std::error_code ec;
    auto first = named_lock::open(name(), {}, ec);
    if (!first) {
      ASSERT_EQ(ec, errc::wrong_engine) << "nobody has it open, and it is not repaired";
      continue;
    }
    ++working;
    auto second = named_lock::open(name(), {}, ec);
    ASSERT_TRUE(second) << ec.message();
    const auto granted = first->acquire(100ms, {}, ec);
    if (!granted) {
      ASSERT_FALSE(second->acquire(0ns, {}, ec) && first->is_held());
      continue;
    }
    ASSERT_FALSE(second->try_lock()) << "P1";
    first->unlock();
    ASSERT_TRUE(second->try_lock());
    ASSERT_GT(second->token(), first->token());
  }
  EXPECT_GT(working, 100) << "too few rounds came that far";
}

}  // namespace
}  // namespace lockbyfile
