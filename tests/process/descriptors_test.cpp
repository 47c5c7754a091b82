// SPDX-License-Identifier: Apache-2.0
//
// Programs that open and close descriptors which are not theirs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <lockbyfile/lockbyfile.hpp>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "support/child.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

/// Another file under a descriptor's number.
class innocent_file {
 public:
  innocent_file(std::string path, int number) : path_(std::move(path)), number_(number) {
    std::ofstream(path_) << content;
    const int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    if (fd != number_) {
      ::dup2(fd, number_);
      ::close(fd);
    }
    ::fstat(number_, &before_);
  }
  ~innocent_file() { ::close(number_); }
  innocent_file(const innocent_file&) = delete;
  innocent_file& operator=(const innocent_file&) = delete;

  /// Open still, unlocked, and as it was.
  void expect_unharmed() const {
    struct stat now {};
    ASSERT_EQ(::fstat(number_, &now), 0) << "it was closed";
    EXPECT_EQ(now.st_ino, before_.st_ino);
    EXPECT_EQ(now.st_size, before_.st_size);
    EXPECT_EQ(now.st_mode, before_.st_mode);
    std::ifstream in(path_);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), content);

    const int other = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    EXPECT_EQ(::fcntl(other, F_OFD_GETLK, &lock), 0);
    EXPECT_EQ(lock.l_type, F_UNLCK) << "it was locked";
    ::close(other);
  }

 private:
  static constexpr const char* content = "innocent";
  std::string path_;
  int number_;
  struct stat before_ {};
};

class Descriptors : public LockTest {
 protected:
  /// A lock whose descriptor was closed by a program that closes all it has, and whose
  /// number is another file's now.
  void SetUp() override {
    lock_.emplace(name());
    token_ = lock_->acquire(0ns).token;
    number_ = lock_->native_handle();
    ASSERT_EQ(::close_range(static_cast<unsigned>(number_), ~0U, 0), 0);
    file_ = std::make_unique<innocent_file>(directory() + "/innocent", number_);
  }
  void TearDown() override { file_->expect_unharmed(); }

  bool notices_loss() {
    return eventually([&] { return !lock_->is_held(); });
  }

  std::optional<named_lock> lock_;
  fencing_token token_;
  int number_ = -1;
  std::unique_ptr<innocent_file> file_;
};

// TORTURE 39

TEST_F(Descriptors, AHolderWhoseDescriptorsWereAllClosedNotices) { EXPECT_TRUE(notices_loss()); }

TEST_F(Descriptors, RenewAfterAllWereClosedSaysLeaseLost) {
  std::error_code ec;
  lock_->renew(ec);
  EXPECT_EQ(ec, errc::lease_lost);
}

TEST_F(Descriptors, ReleaseAfterAllWereClosedSaysLeaseLost) {
  ASSERT_TRUE(notices_loss());
  std::error_code ec;
  lock_->release(ec);
  EXPECT_EQ(ec, errc::lease_lost);
  lock_process other(name());
  EXPECT_TRUE(other.acquire(forever));
}

TEST_F(Descriptors, DestroyingALockAfterAllWereClosedOpensIt) {
  lock_.reset();
  lock_process other(name());
  EXPECT_TRUE(other.acquire(forever));
}

TEST_F(Descriptors, TheLockMayBeAcquiredAnewAfterAllWereClosed) {
  ASSERT_TRUE(notices_loss());
  const grant again = lock_->acquire(forever);
  EXPECT_GT(again.token, token_);
  EXPECT_TRUE(lock_->is_held());
  EXPECT_NE(lock_->native_handle(), number_);
  lock_process other(name());
  EXPECT_EQ(other.acquire(10ms).error, errc::timed_out);
}

TEST_F(Descriptors, ALockMadeAnewUnderTheOldNumberIsNotClosedByTheOldLock) {
  file_.reset();
  named_lock next(directory() + "/next");
  ASSERT_EQ(next.native_handle(), number_) << "the number was to be given again";
  (void)next.acquire(0ns);
  lock_.reset();
  lock_process other(directory() + "/next");
  EXPECT_EQ(other.acquire(10ms).error, errc::timed_out);
  EXPECT_TRUE(next.is_held());
  next = named_lock(directory() + "/another");
  file_ = std::make_unique<innocent_file>(directory() + "/innocent", 100);
}

TEST_F(Descriptors, AFreeLockWhoseDescriptorWasClosedWorksOn) {
  lock_.emplace(name());
  ::close(lock_->native_handle());
  const innocent_file second(directory() + "/second", lock_->native_handle());
  for (int i = 0; i < 3; ++i) {
    (void)lock_->acquire(forever);
    lock_->unlock();
    std::this_thread::sleep_for(15ms);  // past the next check of the path
  }
  second.expect_unharmed();
}

TEST(DescriptorsOfWaiters, AWaiterWhoseDescriptorsAreClosedIsServedAllTheSame) {
  const temporary_directory directory;
  const std::string name = directory.path() + "/bed.lockfile";
  lock_process holder(name);
  ASSERT_TRUE(holder.acquire(0ns));
  named_lock lock(name);
  std::thread waiting([&] { (void)lock.acquire(forever); });
  EXPECT_TRUE(eventually([&] { return observe(name).waiters.size() == 1; }));
  ::syscall(SYS_close, lock.native_handle());  // a race, as in real life; not for tsan to see
  EXPECT_TRUE(eventually([&] { return observe(name).waiters.size() == 1; }));
  EXPECT_EQ(holder.release(), std::error_code());
  waiting.join();
  EXPECT_TRUE(lock.is_held());
}

// TORTURE 38

using OtherDescriptors = LockTest;

TEST_F(OtherDescriptors, ClosingAnyOtherDescriptorOfTheLockfileIsHarmless) {
  lock_process other(name());
  named_lock lock(name());
  named_lock idle(name());
  (void)lock.acquire(0ns);
  ::close(::open(name().c_str(), O_RDWR | O_CLOEXEC));
  ::close(::open(name().c_str(), O_RDONLY | O_CLOEXEC));
  idle = named_lock(directory() + "/elsewhere");
  (void)look();
  std::error_code ec;
  break_lock(name(), fencing_token(1), {}, ec);
  EXPECT_EQ(ec, errc::token_mismatch);
  EXPECT_EQ(other.acquire(10ms).error, errc::timed_out);
  EXPECT_TRUE(lock.is_held());
}

TEST_F(OtherDescriptors, ADuplicateOfTheLifelineKeepsTheLockOfADeadHolder) {
  // On purpose: the command `run` shares its lifeline with its child in this way.
  child holder([this](talk& t) {
    named_lock lock(name());
    (void)lock.acquire(0ns);
    const int shared = ::dup(lock.native_handle());
    if (::fork() == 0) {
      t.say("held");
      try {
        (void)t.hear();
      } catch (const std::exception&) {
      }
      ::close(shared);
      ::_exit(0);
    }
    (void)t.hear();
  });
  holder.expect("held");
  lock_process waiter(name());
  holder.kill();
  EXPECT_EQ(waiter.acquire(50ms).error, errc::timed_out);
  EXPECT_TRUE(look().holder.has_value() && look().holder->alive);
}

}  // namespace
}  // namespace lockbyfile
