// SPDX-License-Identifier: Apache-2.0
//
// A filesystem that is frozen for a while (fsfreeze): a snapshot or a backup is being made of it.
// The first store to a page that was written back waits for the thaw, and cannot be ended.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>

#include "linux/system_calls.hpp"
#include "support/child.hpp"
#include "support/filesystems.hpp"
#include "support/sanitizers.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

/// Frozen until thaw() is called, this object dies, or the test hangs.
class frozen {
 public:
  explicit frozen(const std::string& directory)
      : fd_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        watchdog_([this](talk&) {
          ::sleep(40);
          ::ioctl(fd_, FITHAW, 0);
        }) {
    is_frozen_ = ::ioctl(fd_, FIFREEZE, 0) == 0;
  }
  ~frozen() {
    thaw();
    ::close(fd_);
  }
  frozen(const frozen&) = delete;
  frozen& operator=(const frozen&) = delete;

  [[nodiscard]] bool is_frozen() const { return is_frozen_; }
  void thaw() {
    if (is_frozen_) ::ioctl(fd_, FITHAW, 0);
    is_frozen_ = false;
  }

 private:
  int fd_;
  child watchdog_;
  bool is_frozen_ = false;
};

/// The state in /proc: D is a wait that nothing ends.
char state_of(pid_t process) {
  std::ifstream stat("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(stat, text);
  return text.at(text.rfind(')') + 2);
}

class Frozen : public FilesystemTest {};

INSTANTIATE_TEST_SUITE_P(On, Frozen, ::testing::Values(ext2, ext4, xfs, btrfs),
                         [](const auto& p) { return p.param.name; });

TEST_P(Frozen, OpeningEndsWithItsPatienceAndSaysWhy) {
  if (under_thread_sanitizer) GTEST_SKIP() << "it has no child that asks (linux/apart.cpp)";
  in_it([&] {
    { const named_lock made(name()); }
    frozen here(directory());
    if (!here.is_frozen()) return;  // this kernel cannot freeze it
    {
      const int fd = ::open(name().c_str(), O_RDONLY | O_CLOEXEC);
      const long dirty = sys.dirty_pages(fd, 4096);
      ::close(fd);
      if (dirty < 0) return;  // before Linux 6.5: docs/guarantees.md
      ASSERT_EQ(dirty, 0);
    }
    for (const auto patience : {0ns, std::chrono::nanoseconds(1200ms)}) {
      try {
        const named_lock lock(name(), {.patience = patience});
        ADD_FAILURE() << "it was written to, after the thaw";
      } catch (const lock_error& error) {
        EXPECT_EQ(error.code(), errc::timed_out);
        EXPECT_NE(std::string(error.what()).find("frozen"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
      }
    }
    EXPECT_TRUE(here.is_frozen());
    EXPECT_FALSE(look().holder) << "looking goes on";
    here.thaw();
    EXPECT_TRUE(named_lock(name(), {.patience = 0ns}).try_lock());
  });
}

TEST_P(Frozen, ASessionThatWasOpenWaitsForTheThaw) {  // a limit in docs/guarantees.md
  in_it([&] {
    child user([&](talk& t) {
      named_lock lock(name());
      t.say("open");
      t.expect("acquire");
      t.say(lock.acquire(0ns).token ? "held" : "not held");
      t.expect("release");
      std::error_code ec;
      lock.release(ec);
      t.say(ec ? ec.message() : "released");
      t.hear();
    });
    user.expect("open");
    const auto ask_and_freeze = [&](const std::string& what) {
      frozen here(directory());
      if (!here.is_frozen()) return false;
      user.say(what);
      EXPECT_TRUE(eventually([&] { return state_of(user.pid()) == 'D' || user.has_spoken(); }));
      EXPECT_FALSE(user.has_spoken()) << what;
      EXPECT_TRUE(here.is_frozen());
      return true;
    };
    if (!ask_and_freeze("acquire")) return;
    user.expect("held");
    EXPECT_TRUE(ask_and_freeze("release"));
    user.expect("released");
  });
}

}  // namespace
}  // namespace lockbyfile
