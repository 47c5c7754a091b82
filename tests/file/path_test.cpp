// SPDX-License-Identifier: Apache-2.0
//
// Many ways to one file are one lock: TORTURE 21.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Path : public LockTest {
 protected:
  Path() { fs::create_directories(directory() + "/a/b"); }
  void TearDown() override { fs::current_path(before_); }

  /// Both exclude each other, and count on in one sequence.
  static void expect_one_lock(const std::string& one, const std::string& other) {
    named_lock first(one);
    named_lock second(other);
    const fencing_token token = first.acquire(0ns).token;
    EXPECT_FALSE(second.try_lock()) << one << " and " << other << " are two locks";
    const auto state = observe(other);
    ASSERT_TRUE(state.holder);
    EXPECT_EQ(state.holder->token, token);
    outlive_the_last_look_at_the_path();
    EXPECT_TRUE(first.is_held()) << "taken for replaced";
    std::error_code ec;
    first.renew(ec);
    EXPECT_FALSE(ec);
    first.unlock();
    EXPECT_GT(second.acquire(0ns).token, token);
    EXPECT_FALSE(first.try_lock());
  }

 private:
  fs::path before_ = fs::current_path();
};

TEST_F(Path, ThroughDotsIsTheSameLock) {
  expect_one_lock(directory() + "/a/bed", directory() + "/a/b/../bed");
  expect_one_lock(directory() + "/a/bed", directory() + "/a/./../a//bed");
}

TEST_F(Path, RelativeIsTheSameLock) {
  fs::current_path(directory() + "/a/b");
  expect_one_lock("../bed", directory() + "/a/bed");
  expect_one_lock("./bed", directory() + "/a/b/bed");
  expect_one_lock("bed", directory() + "/a/b/bed.lockfile");
}

TEST_F(Path, ThroughASymbolicLinkToTheDirectoryIsTheSameLock) {
  fs::create_directory_symlink("a/b", directory() + "/link");
  expect_one_lock(directory() + "/link/bed", directory() + "/a/b/bed");
  expect_one_lock(directory() + "/link/../bed", directory() + "/a/bed");
}

TEST_F(Path, FromTwoDirectoriesIsTheSameLock) {
  fs::current_path(directory() + "/a");
  named_lock first("./bed");
  fs::current_path(directory());
  named_lock second("a/bed");
  fs::current_path("/");
  EXPECT_TRUE(first.try_lock());
  EXPECT_FALSE(second.try_lock());
  outlive_the_last_look_at_the_path();
  EXPECT_TRUE(first.is_held()) << "a later chdir changed what the name means";
  EXPECT_EQ(first.path(), second.path());
}

TEST_F(Path, OfAHardLinkIsTheSameLock) {
  { const named_lock lock(name()); }
  fs::create_hard_link(name(), directory() + "/a/other");
  expect_one_lock(name(), directory() + "/a/other");
}

TEST_F(Path, OfAHardLinkSurvivesTheRemovalOfItsTwin) {
  { const named_lock lock(name()); }
  const std::string twin = directory() + "/a/twin";
  fs::create_hard_link(name(), twin);
  named_lock by_name(name());
  named_lock by_twin(twin);
  lockbyfile::remove(name());
  EXPECT_TRUE(by_twin.try_lock_for(1min));
  EXPECT_TRUE(by_name.try_lock_for(1min)) << "from now on two locks, as there are two files";
  EXPECT_TRUE(by_twin.is_held());
}

TEST_F(Path, ThroughABindMountIsTheSameLock) {
  if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
  EXPECT_TRUE(passes_in_child([&] {
    leave_mount_namespace();
    const std::string mounted = directory() + "/a/b";
    ASSERT_EQ(::mount(directory().c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr), 0);
    expect_one_lock(name(), mounted + "/bed.lockfile");
    EXPECT_NE(named_lock(name()).path(), named_lock(mounted + "/bed.lockfile").path());
  }));
}

TEST_F(Path, OfABindMountedFileIsTheSameLock) {  // docker run -v /run/x.lockfile:/x.lockfile
  if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
  { const named_lock lock(name()); }
  write_file(directory() + "/a/target", "");
  EXPECT_TRUE(passes_in_child([&] {
    leave_mount_namespace();
    const std::string target = directory() + "/a/target";
    ASSERT_EQ(::mount(name().c_str(), target.c_str(), nullptr, MS_BIND, nullptr), 0);
    expect_one_lock(name(), target);
    std::error_code ec;
    lockbyfile::remove(target, {}, ec);
    EXPECT_EQ(ec, std::errc::device_or_resource_busy) << "a mount point";
    expect_one_lock(name(), target);
  }));
}

TEST_F(Path, OfARenamedDirectoryIsNotFollowed) {  // resolved once, to a path
  const std::string here = directory() + "/a/bed";
  named_lock lock(here);
  lock.lock();
  fs::rename(directory() + "/a", directory() + "/z");
  outlive_the_last_look_at_the_path();
  EXPECT_FALSE(lock.is_held()) << "counted as a break";
  EXPECT_EQ(lock.path(), here);
  std::error_code ec;
  EXPECT_FALSE(lock.acquire(0ns, {}, ec));
  EXPECT_EQ(ec, std::errc::no_such_file_or_directory);
  fs::rename(directory() + "/z", directory() + "/a");
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(Path, OfDifferentFilesAreDifferentLocks) {
  named_lock one(directory() + "/a/bed");
  named_lock two(directory() + "/a/b/bed");
  named_lock three("bed", {.directory = directory() + "/a"});
  EXPECT_TRUE(one.try_lock());
  EXPECT_TRUE(two.try_lock());
  EXPECT_TRUE(three.try_lock());
}

}  // namespace
}  // namespace lockbyfile
