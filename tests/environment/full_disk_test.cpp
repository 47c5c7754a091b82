// SPDX-License-Identifier: Apache-2.0
//
// Real full disks, at every occasion on which a lock needs room: TORTURE 13, 19.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "core/instant.hpp"
#include "file/layout.hpp"
#include "support/files.hpp"
#include "support/filesystems.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class FullDisk : public FilesystemTest {
 protected:
  [[nodiscard]] std::string filler() const { return directory() + "/filler"; }

  /// Until not one more byte can be written.
  void fill() const {
    const int fd = ::open(filler().c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    const std::string page(4096, 'x');
    bool was_written = true;
    while (was_written) {
      was_written = false;
      for (const std::size_t size : {page.size(), std::size_t{1}}) {
        while (::write(fd, page.data(), size) > 0) was_written = true;
        ASSERT_EQ(errno, ENOSPC);
      }
      ::fsync(fd);  // where room is promised before it is allocated
    }
    ::close(fd);
  }

  static void expect_no_space(const std::string& path, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << "there was room";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::errc::no_space_on_device) << error.what();
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    }
  }

  /// The same again and again, and nothing is leaked.
  static void expect_no_space_ever(const std::string& path, const std::function<void()>& call) {
    resources before;
    for (int round = 0; round < 3; ++round) {  // in the first ones things are allocated for good
      before = resources::in_use();
      for (int i = 0; i < 3; ++i) expect_no_space(path, call);
    }
    EXPECT_EQ(resources::in_use(), before);
  }
};

INSTANTIATE_TEST_SUITE_P(On, FullDisk, ::testing::Values(tmpfs, ext4),
                         [](const auto& p) { return p.param.name; });

TEST_P(FullDisk, IsAnErrorAtOpenThatLeavesNothing) {
  in_it([&] {
    const std::string other = directory() + "/other.lockfile";
    named_lock old(other);
    fill();
    expect_no_space_ever(name(), [&] { const named_lock lock(name()); });
    EXPECT_FALSE(fs::exists(name()));
    EXPECT_TRUE(old.try_lock()) << "an older lock needs no more room";
    fs::remove(filler());
    named_lock lock(name());
    EXPECT_TRUE(lock.try_lock());
  });
}

TEST_P(FullDisk, WithAnEmptyFileIsAnErrorUntilThereIsRoom) {  // that somebody else left
  in_it([&] {
    write_file(name(), "");
    fill();
    expect_no_space_ever(name(), [&] { const named_lock lock(name()); });
    EXPECT_EQ(fs::file_size(name()), 0U);
    fs::remove(filler());
    EXPECT_TRUE(named_lock(name()).try_lock());
  });
}

TEST_P(FullDisk, IsAnErrorOnlyForTheSessionThatNeedsRoom) {
  in_it([&] {
    std::list<named_lock> sessions;
    for (std::uint32_t i = 0; i < file::first_capacity; ++i) sessions.emplace_back(name());
    fill();
    expect_no_space_ever(name(), [&] { const named_lock lock(name()); });
    for (auto& lock : sessions) {
      ASSERT_TRUE(lock.try_lock());
      lock.unlock();
    }
    fs::remove(filler());
    named_lock one_more(name());
    EXPECT_TRUE(one_more.try_lock());
    EXPECT_FALSE(sessions.front().try_lock());
  });
}

TEST_P(FullDisk, IsAnErrorForTokensAheadOfTheClock) {
  in_it([&] {
    named_lock lock(name());
    put_ahead_of_the_clock(name(), 1h);
    fill();
    expect_no_space_ever(name() + ".tokens", [&] { (void)lock.acquire(0ns); });
    EXPECT_FALSE(lock.is_held());
    EXPECT_FALSE(look().holder) << "an error, and yet something is held";
    fs::remove(filler());
    const fencing_token last = lock.acquire(0ns).token;
    lock.unlock();
    fs::remove(name());
    EXPECT_GT(named_lock(name()).acquire(0ns).token, last);
  });
}

TEST_P(FullDisk, InTheMiddleOfALineOfTheMarkIsMadeGoodWhenThereIsRoom) {
  in_it([&] {
    named_lock lock(name());
    {
      std::ofstream mark(name() + ".tokens");  // as it is after many grants: the next line
      for (int i = 0; i < 240; ++i) mark << "0000000000000001\n";  // goes across a page's end
    }
    put_ahead_of_the_clock(name(), 1h);
    fill();
    expect_no_space_ever(name() + ".tokens", [&] { (void)lock.acquire(0ns); });
    EXPECT_FALSE(look().holder);
    EXPECT_EQ(fs::file_size(name() + ".tokens") % 17, 16U) << "no test at all";
    fs::remove(filler());
    const fencing_token last = lock.acquire(0ns).token;
    lock.unlock();
    EXPECT_EQ(fs::file_size(name() + ".tokens") % 17, 0U);
    fs::remove(name());
    EXPECT_GT(named_lock(name()).acquire(0ns).token, last);
  });
}

}  // namespace
}  // namespace lockbyfile
