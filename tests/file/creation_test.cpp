// SPDX-License-Identifier: Apache-2.0
//
// How a lockfile comes into being: on a full disk, killed half-way, by many at once. With
// nameless files, and where the filesystem has none.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "file/layout.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"
#include "support/shared_memory.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

enum class making { nameless, in_place };

/// Every test twice: made nameless and linked, and made in place.
class Creation : public LockTest, public ::testing::WithParamInterface<making> {
 protected:
  Creation() {
    if (GetParam() == making::in_place) old_filesystem_.emplace();
  }

  [[nodiscard]] std::size_t files() const { return files_in(directory()); }

  void expect_a_working_lock() const {
    named_lock first(name());
    named_lock second(name());
    EXPECT_TRUE(first.try_lock());
    EXPECT_FALSE(second.try_lock());
    first.unlock();
    EXPECT_TRUE(second.try_lock());
    EXPECT_GT(second.token(), first.token());
  }

 private:
  std::optional<no_nameless_files> old_filesystem_;
};

INSTANTIATE_TEST_SUITE_P(By, Creation, ::testing::Values(making::nameless, making::in_place),
                         [](const auto& p) {
                           return p.param == making::nameless ? "NamelessFile" : "ExclusiveOpen";
                         });

TEST_P(Creation, MakesOneFileOfOnePage) {
  const named_lock lock(name());
  EXPECT_EQ(files(), 1U) << "nothing is left beside it";
  EXPECT_EQ(fs::file_size(name()), 4096U);
  struct stat s {};
  ASSERT_EQ(::stat(name().c_str(), &s), 0);
  EXPECT_GE(s.st_blocks * 512, 4096) << "room that is not allocated is a SIGBUS later";
}

// TORTURE 13

TEST_P(Creation, OnAFullDiskIsAnErrorAtOpen) {
  {
    const seam full([](std::string_view call) { return call == "fallocate" ? ENOSPC : 0; });
    try {
      const named_lock lock(name());
      ADD_FAILURE();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::errc::no_space_on_device);
      EXPECT_EQ(error.path(), name());
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
    }
  }
  EXPECT_LE(files(), GetParam() == making::nameless ? 0U : 1U) << "something is left";
  expect_a_working_lock();
}

TEST_P(Creation, OnARealFullDiskIsAnErrorAtOpen) {
  if (!can_mount()) GTEST_SKIP() << "mounting a small filesystem is not permitted";
  EXPECT_TRUE(passes_in_child([&] {
    leave_mount_namespace();
    mount_tmpfs(directory(), "size=64k");
    named_lock old(directory() + "/old");
    const std::string filler = directory() + "/filler";
    const int fd = ::open(filler.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    const std::string page(4096, 'x');
    while (::write(fd, page.data(), page.size()) > 0) {
    }
    ASSERT_EQ(errno, ENOSPC);
    ::close(fd);

    for (int i = 0; i < 3; ++i) {
      std::error_code ec;
      EXPECT_FALSE(named_lock::open(name(), {}, ec)) << "a full disk will be a SIGBUS later";
      EXPECT_EQ(ec, std::errc::no_space_on_device);
    }
    EXPECT_TRUE(old.try_lock()) << "an older lock needs no more room";
    fs::remove(filler);
    expect_a_working_lock();
  }));
}

TEST_P(Creation, OfAnotherSessionsRoomOnAFullDiskIsAnErrorAtItsOpenOnly) {
  std::list<named_lock> sessions;
  for (std::uint32_t i = 0; i < file::first_capacity; ++i) sessions.emplace_back(name());
  {
    const seam full([](std::string_view call) { return call == "fallocate" ? ENOSPC : 0; });
    try {
      const named_lock lock(name());
      ADD_FAILURE();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::errc::no_space_on_device);
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
    }
  }
  for (auto& s : sessions) {
    ASSERT_TRUE(s.try_lock());
    s.unlock();
  }
  expect_a_working_lock();
}

// What a creator that died has left

TEST_P(Creation, CompletesAnEmptyFileAndKeepsItsMode) {
  write_file(name(), "");
  ASSERT_EQ(::chmod(name().c_str(), 0664), 0);
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::stat(name().c_str(), &before), 0);
  expect_a_working_lock();
  ASSERT_EQ(::stat(name().c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(after.st_mode, before.st_mode);
}

TEST_P(Creation, CompletesAFileOfZeros) {
  write_file(name(), std::string(4096, '\0'));
  expect_a_working_lock();
}

TEST_P(Creation, CompletesASparseFile) {
  write_file(name(), "");
  truncate_file(name(), 4096);
  const named_lock lock(name());
  struct stat s {};
  ASSERT_EQ(::stat(name().c_str(), &s), 0);
  EXPECT_GE(s.st_blocks * 512, 4096) << "a hole would be a SIGBUS later";
}

TEST_P(Creation, CompletesAFileThatWasInitialisedToAnyPoint) {
  { const named_lock lock(name()); }
  const std::string done = content_of(name());
  // Initialisation writes the fields in this order, but the processor may reorder the writes. So
  // any subset of all fields except the signature may be there, and then a part of the signature.
  using file::header;
  const std::array<std::pair<std::size_t, std::size_t>, 7> fields{{
      {offsetof(header, format), 4},
      {offsetof(header, capacity), 4},
      {offsetof(header, word), 8},
      {offsetof(header, time_namespace), 8},
      {offsetof(header, boot_id) + 8, 8},
      {offsetof(header, boot_id), 8},
      {offsetof(header, slot_hint), 4},
  }};
  std::vector<std::string> images;
  for (unsigned subset = 0; subset < 1U << fields.size(); ++subset) {
    std::string image(4096, '\0');
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto [offset, size] = fields[i];
      if ((subset >> i & 1U) != 0) image.replace(offset, size, done, offset, size);
    }
    images.push_back(image);
  }
  std::string image = images.back();
  for (std::size_t end = 16; end <= sizeof file::signature; end += 8) {
    image.replace(8, end - 8, done, 8, end - 8);
    images.push_back(image);
  }
  for (std::size_t i = 0; i < images.size(); ++i) {
    SCOPED_TRACE("image " + std::to_string(i) + " of " + std::to_string(images.size()));
    fs::remove(name());
    write_file(name(), images[i]);
    std::error_code ec;
    auto lock = named_lock::open(name(), {}, ec);
    ASSERT_TRUE(lock) << ec.message();
    ASSERT_TRUE(lock->try_lock());
    ASSERT_GT(lock->token().value(), 1'000'000'000'000'000U) << "tokens start at the clock";
  }
}

TEST_P(Creation, UsesAFileThatAnotherCompletesWhileItIsLookedAt) {  // TORTURE 15
  write_file(name(), std::string(4096, '\0'));
  child rival([&](talk& t) {
    t.expect("go");
    named_lock lock(name());
    lock.lock();
    t.say("held");
    t.expect("end");
  });
  bool looked_at = false;
  std::optional<named_lock> lock;
  {
    const seam meddling([&](std::string_view call) {
      if (call == "pread" && !looked_at) {
        looked_at = true;
        rival.say("go");
        rival.expect("held");
      }
      return 0;
    });
    lock.emplace(name());
  }
  EXPECT_TRUE(looked_at) << "no test at all";
  EXPECT_FALSE(lock->try_lock());
}

// TORTURE 14

TEST_P(Creation, KilledAtAnyStepIsMadeGoodByTheNextOpener) {
  bool completed = false;
  int step = 0;
  while (!completed) {
    SCOPED_TRACE(++step);
    ASSERT_LT(step, 200);
    fencing_token last;
    {
      named_lock former(name());
      last = former.acquire(0ns).token;
    }
    fs::remove(name());
    completed = run_in_child([&] {
                  ::umask(0);
                  int calls = 0;
                  const seam deadly([&](std::string_view) {
                    if (++calls == step) ::raise(SIGKILL);
                    return 0;
                  });
                  named_lock lock(name(), {.mode = 0640});
                  (void)lock.try_lock();
                }) == 0;

    ASSERT_LE(files(), 1U) << "left beside the lockfile";
    if (fs::exists(name())) {
      const mode_t mode = mode_of(name()) & 07777;
      EXPECT_TRUE(mode == 0600 || mode == 0640) << std::oct << mode << ": open to others";
    }
    named_lock first(name(), {.mode = 0640});
    named_lock second(name());
    ASSERT_TRUE(first.try_lock());
    EXPECT_GT(first.token(), last) << "P2";
    EXPECT_FALSE(second.try_lock());
    first.unlock();
    EXPECT_TRUE(second.try_lock());
    EXPECT_EQ(files(), 1U);
  }
  EXPECT_GT(step, 10) << "killed at too few steps: the seam is not asked";
}

TEST_P(Creation, StoppedHalfWayIsAnErrorForOthersUntilItGoesOn) {
  write_file(name(), "");
  child maker([&](talk&) {
    const seam halting([](std::string_view call) {
      if (call == "fallocate") ::raise(SIGSTOP);
      return 0;
    });
    named_lock lock(name());
    lock.lock();
  });
  ASSERT_EQ(::waitpid(maker.pid(), nullptr, WUNTRACED), maker.pid());
  {
    const shifted_clocks two_seconds_in_no_time;
    try {
      const named_lock lock(name());
      ADD_FAILURE();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::stuck);
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
    }
  }
  maker.go_on();
  EXPECT_EQ(maker.wait(), 0);
  expect_a_working_lock();
}

// TORTURE 15

TEST_P(Creation, ByTwoOrSixteenAtOnceMakesOneLock) {
  struct meeting {
    std::atomic<int> ready;
    std::atomic<int> round;
    std::atomic<int> inside;
    std::atomic<int> violations;
    std::atomic<std::uint64_t> tokens[16];
  };
  for (const int openers : {2, 16}) {
    SCOPED_TRACE(openers);
    constexpr int rounds = 15;
    const shared_memory<meeting> shared;
    const auto name_of = [&](int round) {
      return directory() + "/" + std::to_string(openers) + "-" + std::to_string(round);
    };
    std::list<child> processes;
    for (int p = 0; p < openers; ++p) {
      processes.emplace_back([&, p](talk& t) {
        for (int round = 1; round <= rounds; ++round) {
          ++shared->ready;
          while (shared->round < round) ::sched_yield();
          named_lock lock(name_of(round));
          const grant g = lock.acquire();
          if (shared->inside.fetch_add(1) != 0) ++shared->violations;
          shared->tokens[p] = g.token.value();
          --shared->inside;
          lock.unlock();
          t.say("done");
        }
      });
    }
    for (int round = 1; round <= rounds; ++round) {
      while (shared->ready < openers * round) ::sched_yield();
      shared->round = round;
      for (auto& p : processes) p.expect("done");
      std::set<std::uint64_t> tokens;
      for (int p = 0; p < openers; ++p) tokens.insert(shared->tokens[p]);
      EXPECT_EQ(tokens.size(), static_cast<std::size_t>(openers)) << "a token was given twice";
    }
    EXPECT_EQ(shared->violations, 0);
    EXPECT_EQ(files(), static_cast<std::size_t>(rounds)) << "left beside the lockfiles";
    for (int round = 1; round <= rounds; ++round) fs::remove(name_of(round));
  }
}

// Filesystems of other kinds

TEST_P(Creation, WithoutLinksToNamelessFilesFallsBack) {  // /proc is not mounted, say
  for (const int error : {ENOENT, EPERM, EOPNOTSUPP}) {
    fs::remove(name());
    const seam failing([&](std::string_view call) { return call == "linkat" ? error : 0; });
    expect_a_working_lock();
    EXPECT_EQ(files(), 1U);
  }
}

TEST_P(Creation, WhereTheNameAppearsMeanwhileUsesWhatIsThere) {
  child rival([&](talk& t) {
    t.expect("go");
    named_lock lock(name());
    t.say(std::to_string(lock.acquire(0ns).token.value()));
    t.expect("release");
    lock.unlock();
    t.say("released");
  });
  std::optional<fencing_token> rivals;
  {
    int opens = 0;
    const seam slow([&](std::string_view call) {
      const bool about_to_appear =
          GetParam() == making::nameless ? call == "linkat" : call == "open" && ++opens == 3;
      if (about_to_appear && !rivals) {
        rival.say("go");
        rivals = fencing_token(std::stoull(rival.hear()));
      }
      return 0;
    });
    named_lock lock(name());
    ASSERT_TRUE(rivals);
    EXPECT_FALSE(lock.try_lock()) << "the rival's lock was replaced";
    rival.say("release");
    rival.expect("released");
    EXPECT_TRUE(lock.try_lock());
    EXPECT_GT(lock.token(), *rivals);
  }
  EXPECT_EQ(files(), 1U);
}

using CreationFault = LockTest;

TEST_F(CreationFault, OnANetworkFilesystemIsRefused) {
  static int (*const real)(int, struct statfs*) = sys.fstatfs;
  static long type = 0;
  const struct restore {
    ~restore() { sys.fstatfs = real; }
  } at_exit;
  sys.fstatfs = [](int fd, struct statfs* s) {
    const int r = real(fd, s);
    s->f_type = type;
    return r;
  };
  for (const auto& [number, word] :
       {std::pair{0x6969L, "NFS"}, std::pair{0xFF534D42L, "SMB"}, std::pair{0x65735546L, "FUSE"},
        std::pair{0x01021997L, "9P"}}) {
    type = number;
    try {
      const named_lock lock(name());
      ADD_FAILURE() << word;
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::network_filesystem);
      EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
    EXPECT_EQ(files_in(directory()), 0U);
  }
}

}  // namespace
}  // namespace lockbyfile
