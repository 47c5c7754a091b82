// SPDX-License-Identifier: Apache-2.0
//
// What a place lacks: nameless files that may be linked, fallocate, room under a limit, a file
// that no other program keeps for itself. Each has a way round, or an error that says what it is.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "file/layout.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::error_code system_error_of(int error) { return {error, std::system_category()}; }

using Place = LockTest;

TEST_F(Place, WhereNamelessFilesMayNotBeLinkedGetsItsFileThePlainWay) {
  for (const int error : {EACCES, EXDEV, ENOSYS, EINVAL, EPERM, EOPNOTSUPP, ENOENT}) {
    SCOPED_TRACE(std::strerror(error));
    fs::remove(name());
    const seam profile([&](std::string_view call) { return call == "linkat" ? error : 0; });
    named_lock lock(name());
    EXPECT_TRUE(lock.try_lock());
    EXPECT_EQ(files_in(directory()), 1U);
  }
}

TEST_F(Place, WhereNamelessFilesAreDeniedGetsItsFileThePlainWay) {
  static int (*real)(const char*, int, mode_t) = sys.open;
  static int error = 0;
  for (const int denied : {EACCES, EPERM, ENOSYS}) {
    error = denied;
    fs::remove(name());
    sys.open = [](const char* path, int flags, mode_t mode) {
      if ((flags & O_TMPFILE) != O_TMPFILE) return real(path, flags, mode);
      errno = error;
      return -1;
    };
    named_lock lock(name());
    EXPECT_TRUE(lock.try_lock());
    sys.open = real;
  }
}

TEST_F(Place, WithoutFallocateHasItsRoomWritten) {
  for (const int error : {EOPNOTSUPP, ENOSYS}) {
    fs::remove(name());
    const seam old_filesystem(
        [&](std::string_view call) { return call == "fallocate" ? error : 0; });
    std::vector<named_lock> sessions;
    for (unsigned i = 0; i < 3 * file::first_capacity; ++i) sessions.emplace_back(name());
    EXPECT_TRUE(sessions.back().try_lock());
    EXPECT_FALSE(sessions.front().try_lock());
    struct stat s {};
    ASSERT_EQ(::stat(name().c_str(), &s), 0);
    EXPECT_GE(s.st_blocks * 512, s.st_size) << "a hole: a full disk would be a SIGBUS";
  }
}

TEST_F(Place, WithoutFallocateAndFullIsAnErrorAtOpen) {
  const seam full([&](std::string_view call) {
    return call == "fallocate" ? EOPNOTSUPP : call == "pwrite" ? ENOSPC : 0;
  });
  std::error_code ec;
  EXPECT_FALSE(named_lock::open(name(), {}, ec));
  EXPECT_EQ(ec, std::errc::no_space_on_device);
}

/// The type that the filesystem has, as long as this lives.
class filesystem_type_is {
 public:
  explicit filesystem_type_is(long number) {
    number_ = number;
    sys.fstatfs = [](int fd, struct statfs* s) {
      const int r = real_(fd, s);
      s->f_type = number_;
      return r;
    };
  }
  ~filesystem_type_is() { sys.fstatfs = real_; }
  filesystem_type_is(const filesystem_type_is&) = delete;
  filesystem_type_is& operator=(const filesystem_type_is&) = delete;

 private:
  static inline int (*const real_)(int, struct statfs*) = sys.fstatfs;
  static inline long number_ = 0;
};

TEST_F(Place, OfAnUnknownTypeIsRefusedUntilTheUserInsists) {
  for (const long unknown : {0xA501FCF5L, 0x61636673L, 0xDEADBEEFL}) {
    const filesystem_type_is type(unknown);
    try {
      const named_lock lock(name());
      ADD_FAILURE() << std::hex << unknown;
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), errc::network_filesystem);
      const std::string what = error.what();
      for (const char* part : {"--any-filesystem", "any_filesystem"})
        EXPECT_NE(what.find(part), std::string::npos) << what;
      EXPECT_NE(what.find(name()), std::string::npos) << what;
    }
    EXPECT_EQ(files_in(directory()), 0U);
    {
      named_lock lock(name(), {.any_filesystem = true});
      EXPECT_TRUE(lock.try_lock());
    }
    remove(name(), {.any_filesystem = true});
  }
}

TEST_F(Place, ThatOtherHostsShareIsRefusedWhateverTheUserInsistsOn) {
  for (const long shared : {0x6969L, 0x65735546L, 0x00C36400L, 0x7461636FL}) {
    const filesystem_type_is type(shared);
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name(), {.any_filesystem = true}, ec));
    EXPECT_EQ(ec, errc::network_filesystem);
  }
}

TEST_F(Place, WhereNoFileMayBeLongIsAnErrorThatNamesTheLimitAndNoSignal) {
  EXPECT_TRUE(passes_in_child([&] {
    const struct rlimit nothing { 0, RLIM_INFINITY };
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &nothing), 0);
    try {
      const named_lock lock(name());
      ADD_FAILURE();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), system_error_of(EFBIG));
      const std::string what = error.what();
      EXPECT_NE(what.find("ulimit -f"), std::string::npos) << what;
      EXPECT_NE(what.find(name()), std::string::npos) << what;
    }
    EXPECT_EQ(files_in(directory()), 0U);
  }));
}

TEST_F(Place, WhereAFileMayNotGrowKeepsTheSessionsThatItHas) {
  EXPECT_TRUE(passes_in_child([&] {
    const struct rlimit first_page { file::first_size, RLIM_INFINITY };
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &first_page), 0);
    std::vector<named_lock> sessions;
    for (unsigned i = 0; i < file::first_capacity; ++i) sessions.emplace_back(name());
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name(), {}, ec));
    EXPECT_EQ(ec, system_error_of(EFBIG));
    EXPECT_TRUE(sessions.front().try_lock());
    EXPECT_FALSE(sessions.back().try_lock());
  }));
}

// --- another root directory ---------------------------------------------------------------------

TEST_F(Place, OutOfReachAfterAChrootKeepsTheLockUntilItsFileIsDeleted) {  // C10
  if (!can_become_nobody()) GTEST_SKIP() << "only root can change its root directory";
  fs::create_directory(directory() + "/root");
  child holder([this](talk& to_test) {
    named_lock lock(name(), {.lease = 1h});
    lock.lock();
    if (::chroot((directory() + "/root").c_str()) != 0) throw std::runtime_error("chroot");
    const auto now_and_then = [&] {
      outlive_the_last_look_at_the_path();
      std::error_code ec;
      lock.renew(ec);
      to_test.say((lock.is_held() ? "held, " : "not held, ") + ec.message());
      to_test.hear();
    };
    now_and_then();
    now_and_then();
  });
  EXPECT_EQ(holder.hear(), "held, " + std::error_code().message());
  EXPECT_FALSE(named_lock(name()).try_lock());
  fs::remove(name());
  holder.say("go on");
  EXPECT_EQ(holder.hear(), "not held, " + make_error_code(errc::lease_lost).message());
}

// --- another program's lease (F_SETLEASE) -----------------------------------------------------

class LeasedPlace : public LockTest {
 protected:
  LeasedPlace() { const named_lock made(name()); }

  /// A program that keeps a lease on the lockfile, as a file server does, until it is told to
  /// give it up.
  [[nodiscard]] child file_server() const {
    child server([this](talk& to_test) {
      ::signal(SIGIO, SIG_IGN);
      const int fd = ::open(name().c_str(), O_RDWR | O_CLOEXEC);
      to_test.say(::fcntl(fd, F_SETLEASE, F_WRLCK) == 0 ? "leased" : "refused");
      to_test.hear();
      ::fcntl(fd, F_SETLEASE, F_UNLCK);
      to_test.say("given up");
      to_test.hear();
    });
    return server;
  }
};

TEST_F(LeasedPlace, IsWaitedForWithinThePatience) {
  child server = file_server();
  if (server.hear() != "leased") GTEST_SKIP() << "no leases here";
  std::optional<named_lock> lock;
  std::error_code ec;
  std::thread opener([&] { lock = named_lock::open(name(), {.patience = 1min}, ec); });
  // The opener asks again and again; that it does not fail at once is what a moment shows.
  std::this_thread::sleep_for(50ms);
  server.say("give it up");
  opener.join();
  ASSERT_TRUE(lock) << ec.message();
  EXPECT_TRUE(lock->try_lock());
}

TEST_F(LeasedPlace, WithoutPatienceIsAnErrorThatSaysWhoKeepsIt) {
  child server = file_server();
  if (server.hear() != "leased") GTEST_SKIP() << "no leases here";
  try {
    const named_lock lock(name(), {.patience = 0ms});
    ADD_FAILURE();
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), system_error_of(EAGAIN));
    EXPECT_NE(std::string(error.what()).find("F_SETLEASE"), std::string::npos) << error.what();
  }
}

TEST_F(LeasedPlace, IsNotWaitedForByOneThatGivesUp) {
  child server = file_server();
  if (server.hear() != "leased") GTEST_SKIP() << "no leases here";
  unsigned asked = 0;
  std::error_code ec;
  EXPECT_FALSE(named_lock::open(name(), {.gives_up = [&] { return ++asked > 3; }}, ec));
  EXPECT_EQ(ec, errc::cancelled);
}

}  // namespace
}  // namespace lockbyfile
