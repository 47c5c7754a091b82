// SPDX-License-Identifier: Apache-2.0
//
// A process that closes any descriptor of a file loses its POSIX locks on it (fcntl(2)). So no look
// of ours opens what is not ours: SQLite keeps such locks on its databases.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <system_error>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/sanitizers.hpp"

namespace lockbyfile {
namespace {

class CallersLocks : public LockTest {
 protected:
  CallersLocks() : database_(directory() + "/db.sqlite3") {
    write_file(database_,
               "SQLite format 3 and so on, for more than a page: " + std::string(9000, 'x'));
    fd_ = ::open(database_.c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    EXPECT_EQ(::fcntl(fd_, F_SETLK, &lock), 0);
  }
  ~CallersLocks() override { ::close(fd_); }

  /// Asked by another process, as the lock is invisible to its owner.
  [[nodiscard]] bool has_its_lock() const {
    return run_in_child([this] {
             const int fd = ::open(database_.c_str(), O_RDWR | O_CLOEXEC);
             struct flock lock {};
             lock.l_type = F_WRLCK;
             lock.l_whence = SEEK_SET;
             exit_child(::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK ? 0 : 2);
           }) == 0;
  }

  const std::string database_;
  int fd_ = -1;
};

TEST_F(CallersLocks, StayWhenADirectoryIsListedAndPruned) {
  { const named_lock lock(directory() + "/a.lockfile"); }
  ASSERT_TRUE(has_its_lock());
  EXPECT_EQ(list(directory()).size(), 1U);
  EXPECT_TRUE(has_its_lock()) << "after list";
  EXPECT_EQ(prune(directory()).size(), 1U);
  EXPECT_TRUE(has_its_lock()) << "after prune";
}

TEST_F(CallersLocks, StayWhenTheFileItselfIsNamedAsALock) {
  if (under_thread_sanitizer) GTEST_SKIP() << "it has no child that looks (linux/apart.cpp)";
  std::error_code ec;
  EXPECT_FALSE(named_lock::open(database_, {}, ec));
  EXPECT_EQ(ec, errc::wrong_engine);
  EXPECT_TRUE(has_its_lock()) << "after open";
  EXPECT_FALSE(observe(database_, {}, ec));
  EXPECT_EQ(ec, errc::wrong_engine);
  EXPECT_TRUE(has_its_lock()) << "after observe";
  break_lock(database_, {}, {}, ec);
  EXPECT_EQ(ec, errc::wrong_engine);
  lockbyfile::remove(database_, {}, ec);
  EXPECT_EQ(ec, errc::wrong_engine);
  EXPECT_TRUE(has_its_lock()) << "after break and remove";
}

TEST_F(CallersLocks, StayWhenTheFileIsAsSmallAsALockfile) {
  if (under_thread_sanitizer) GTEST_SKIP() << "it has no child that looks (linux/apart.cpp)";
  EXPECT_EQ(::ftruncate(fd_, 100), 0);
  std::error_code ec;
  EXPECT_FALSE(named_lock::open(database_, {}, ec));
  EXPECT_EQ(ec, errc::wrong_engine);
  EXPECT_TRUE(has_its_lock());
}

}  // namespace
}  // namespace lockbyfile
