// SPDX-License-Identifier: Apache-2.0
//
// What is at the lockfile's path but is no lockfile, or was one: TORTURE 11, promise P10.
// Every function gives a clear error with the path, or repairs; what is not ours is left
// as it is; nothing is followed, nothing blocks.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "file/layout.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"
#include "support/seed.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// Anything that can be done to a lock by its name, and what it came to.
struct deed {
  std::string name;
  std::function<void(const std::string& path)> commit;
};
const deed deeds[] = {
    {"open", [](const std::string& path) { const named_lock lock(path); }},
    {"observe", [](const std::string& path) { (void)observe(path); }},
    {"break", [](const std::string& path) { break_lock(path, fencing_token()); }},
    {"remove", [](const std::string& path) { lockbyfile::remove(path); }},
};

/// Commits the deed; the error, whose sentence must name the path. None is fine, too.
std::error_code code_of(const deed& d, const std::string& path) {
  const auto begun = steady_now();
  std::error_code ec;
  try {
    d.commit(path);
  } catch (const lock_error& error) {
    ec = error.code();
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    EXPECT_FALSE(error.path().empty());
  }
  EXPECT_LT(steady_now() - begun, 2s) << d.name << " hung";
  return ec;
}

// --- what is not ours -----------------------------------------------------------------

struct kind {
  std::string name;
  std::function<void(const std::string& path)> make;
  std::string word;  // in the error's sentence
  friend std::ostream& operator<<(std::ostream& out, const kind& k) { return out << k.name; }
};

void make_device(const std::string& path, mode_t type, unsigned major, unsigned minor) {
  if (::mknod(path.c_str(), type | 0600, makedev(major, minor)) != 0)
    throw std::system_error(errno, std::system_category(), "mknod");
}

void make_socket(const std::string& path) {
  const int s = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int bound = ::bind(s, reinterpret_cast<const struct sockaddr*>(&address), sizeof address);
  ::close(s);
  if (bound != 0) throw std::system_error(errno, std::system_category(), "bind");
}

/// A lockfile, to be spoilt.
void make_lockfile(const std::string& path) { const named_lock lock(path); }

const kind kinds[] = {
    {"TextFile", [](const std::string& p) { write_file(p, "Dear diary, today I\n"); },
     "another program"},
    {"LongTextFile", [](const std::string& p) { write_file(p, std::string(700'000, 'x')); },
     "another program"},
    {"TextFileThatBeginsAlike",
     [](const std::string& p) { write_file(p, "lockbyfile is a nice program\n"); },
     "another program"},
    {"BinaryFileThatBeginsWithZeros",
     [](const std::string& p) { write_file(p, std::string(4000, '\0') + std::string(96, 'x')); },
     "another program"},
    {"HugeSparseFile",
     [](const std::string& p) {
       write_file(p, "");
       truncate_file(p, std::size_t{1} << 40);
     },
     "another program"},
    {"NewerFormat",
     [](const std::string& p) {
       make_lockfile(p);
       mapped_lockfile(p)->header.format.store(2);
     },
     "format 2"},
    {"UnknownFlags",
     [](const std::string& p) {
       make_lockfile(p);
       mapped_lockfile(p)->header.flags.store(4);
     },
     "flags 4"},
    {"Directory", [](const std::string& p) { fs::create_directory(p); }, "directory"},
    {"Fifo",
     [](const std::string& p) {
       if (::mkfifo(p.c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
     },
     "FIFO"},
    {"Socket", make_socket, "socket"},
    {"SymbolicLinkToALockfile",
     [](const std::string& p) {
       make_lockfile(p + ".target");
       fs::create_symlink(p + ".target", p);
     },
     "symbolic link"},
    {"SymbolicLinkToATextFile",
     [](const std::string& p) {
       write_file(p + ".target", "precious");
       fs::create_symlink(p + ".target", p);
     },
     "symbolic link"},
    {"DanglingSymbolicLink", [](const std::string& p) { fs::create_symlink(p + ".target", p); },
     "symbolic link"},
    {"SymbolicLinkToItself", [](const std::string& p) { fs::create_symlink(p, p); },
     "symbolic link"},
    {"CharacterDevice", [](const std::string& p) { make_device(p, S_IFCHR, 1, 3); }, "device"},
    {"BlockDevice", [](const std::string& p) { make_device(p, S_IFBLK, 7, 200); }, "device"},
    {"Terminal", [](const std::string& p) { make_device(p, S_IFCHR, 5, 0); }, "device"},
};

class Foreign : public LockTest, public ::testing::WithParamInterface<kind> {
 protected:
  /// What can be seen of the directory without opening anything odd.
  [[nodiscard]] std::string inventory() const {
    std::string all;
    for (const auto& entry : fs::directory_iterator(directory())) {
      struct stat s {};
      EXPECT_EQ(::lstat(entry.path().c_str(), &s), 0);
      all += entry.path().string() + ' ' + std::to_string(s.st_ino) + ' ' +
             std::to_string(s.st_mode) + ' ' + std::to_string(s.st_size) + ' ' +
             std::to_string(s.st_blocks) + '\n';
      if (S_ISREG(s.st_mode) && s.st_size < 1'000'000) all += content_of(entry.path()) + '\n';
      if (S_ISLNK(s.st_mode)) all += fs::read_symlink(entry.path()).string() + '\n';
    }
    return all;
  }
  void make() const {
    try {
      GetParam().make(name());
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::operation_not_permitted) throw;
      GTEST_SKIP() << "only root can make one";
    }
  }
};

TEST_P(Foreign, IsRefusedByEveryDeedAndLeftAsItIs) {
  make();
  if (IsSkipped()) return;
  const std::string before = inventory();
  for (const deed& d : deeds) {
    SCOPED_TRACE(d.name);
    EXPECT_EQ(code_of(d, name()), errc::wrong_engine);
    try {
      d.commit(name());
      ADD_FAILURE() << "accepted";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.path(), name());
      EXPECT_NE(std::string(error.what()).find(GetParam().word), std::string::npos) << error.what();
    }
    EXPECT_EQ(inventory(), before);
  }
}

TEST_P(Foreign, IsPassedOverByListAndPrune) {
  make();
  if (IsSkipped()) return;
  const named_lock in_use(directory() + "/other");
  const std::string before = inventory();
  (void)list(directory());
  for (const auto& removed : prune(directory())) EXPECT_EQ(removed, name() + ".target");
  EXPECT_TRUE(fs::exists(fs::symlink_status(name())));
  if (!fs::exists(name() + ".target")) return;
  EXPECT_EQ(inventory(), before);
}

TEST_P(Foreign, IsNotEvenOpenedIfOpeningMightActOnIt) {  // devices, FIFOs
  make();
  if (IsSkipped()) return;
  if (S_ISREG(mode_of(name()))) return;
  const seam watching([](std::string_view call) { return call == "open" ? EIO : 0; });
  for (const deed& d : deeds) EXPECT_EQ(code_of(d, name()), errc::wrong_engine) << d.name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, Foreign, ::testing::ValuesIn(kinds),
                         [](const auto& p) { return p.param.name; });

using ForeignRace = LockTest;

/// Put in place between the look at the path and the open.
TEST_F(ForeignRace, ALinkOrFifoThatComesTooLateForTheLookIsRefusedAllTheSame) {
  const auto unseen = [](std::string_view call) { return call == "lstat" ? ENOENT : 0; };
  write_file(name() + ".target", "precious");
  fs::create_symlink(name() + ".target", name());
  for (const deed& d : deeds) {
    const seam blind(unseen);
    EXPECT_EQ(code_of(d, name()), std::errc::too_many_symbolic_link_levels) << d.name;
  }
  EXPECT_EQ(content_of(name() + ".target"), "precious");
  fs::remove(name());
  ASSERT_EQ(::mkfifo(name().c_str(), 0600), 0);
  for (const deed& d : deeds) {
    const seam blind(unseen);
    EXPECT_TRUE(code_of(d, name())) << d.name;
  }
}

// --- what was ours --------------------------------------------------------------------------

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
    {"Appended",
     [](const std::string& p) { write_file(p, content_of(p) + std::string(100, 'x')); }},
    {"AppendedMuch",
     [](const std::string& p) { write_file(p, content_of(p) + std::string(1'000'000, 'x')); }},
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
              h.freed_counter.store(h.word.load() >> 12);
              h.freed_at.store(~std::uint64_t{0});
              h.barge_until.store(~std::uint64_t{0});
              h.next_grant_entry.store(~0U);
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
  const std::error_code ec = code_of(deeds[1], name());
  EXPECT_TRUE(!ec || ec == errc::not_found || ec == errc::damaged) << ec.message();
  EXPECT_EQ(fs::file_size(name()) < 2'000'000 ? content_of(name()) : "", before)
      << "looking changes nothing";
}

TEST_P(Damaged, CannotBeBrokenOpen) {
  (void)used();
  GetParam().happen(name());
  const std::error_code ec = code_of(deeds[2], name());
  if (!ec) return;  // it looked held
  EXPECT_TRUE(ec == errc::token_mismatch || ec == errc::not_found || ec == errc::damaged)
      << ec.message();
}

TEST_P(Damaged, CanBeRemoved) {
  const fencing_token last = used();
  GetParam().happen(name());
  EXPECT_EQ(code_of(deeds[3], name()), std::error_code());
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
  for (const deed& d : deeds) {
    SCOPED_TRACE(d.name);
    if (d.name == "break") continue;  // it may well work, and then nobody holds anything
    const std::error_code ec = code_of(d, name());
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

    const deed& d = deeds[pick(random, 1, 3)];
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
