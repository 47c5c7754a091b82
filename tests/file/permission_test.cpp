// SPDX-License-Identifier: Apache-2.0
//
// Which users may use a lockfile, and which error all others get.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/files.hpp"
#include "support/in_child.hpp"
#include "support/lock_test.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// The call fails with this error of the system, in a sentence that names the path.
void expect_error(std::errc code, const std::string& path, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "permitted";
  } catch (const lock_error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(error.path(), path);
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
  }
}

class Permission : public LockTest {
 protected:
  Permission() { ::chmod(directory().c_str(), 0755); }  // so that others reach what is in it
  [[nodiscard]] mode_t permissions() const { return mode_of(name()) & 07777; }
};

class umask_of {
 public:
  explicit umask_of(mode_t mask) : before_(::umask(mask)) {}
  ~umask_of() { ::umask(before_); }
  umask_of(const umask_of&) = delete;
  umask_of& operator=(const umask_of&) = delete;

 private:
  mode_t before_;
};

// TORTURE 16

TEST_F(Permission, TheModeIsTheOwnersAloneByDefaultWhateverTheUmask) {
  for (const mode_t mask : {0U, 022U, 077U, 0777U}) {
    const umask_of masked(mask);
    { const named_lock lock(name()); }
    EXPECT_EQ(permissions(), 0600U) << "under umask " << std::oct << mask;
    fs::remove(name());
  }
}

TEST_F(Permission, TheModeAskedForIsAppliedExactlyWhateverTheUmask) {
  for (const mode_t mask : {0U, 022U, 077U, 0777U}) {
    for (const unsigned mode : {0600U, 0640U, 0660U, 0644U, 0666U, 0777U}) {
      const umask_of masked(mask);
      { const named_lock lock(name(), {.mode = mode}); }
      EXPECT_EQ(permissions(), mode) << "under umask " << std::oct << mask;
      fs::remove(name());
      const no_nameless_files old_filesystem;
      { const named_lock lock(name(), {.mode = mode}); }
      EXPECT_EQ(permissions(), mode) << "in place, under umask " << std::oct << mask;
      fs::remove(name());
    }
  }
}

TEST_F(Permission, AnExistingFileKeepsItsMode) {
  { const named_lock lock(name(), {.mode = 0640}); }
  { const named_lock lock(name(), {.mode = 0666}); }
  EXPECT_EQ(permissions(), 0640U);
  write_file(name() + "2", "");
  ASSERT_EQ(::chmod((name() + "2").c_str(), 0664), 0);
  { const named_lock lock(name() + "2"); }
  EXPECT_EQ(mode_of(name() + "2") & 07777, 0664U) << "made so by an administrator";
}

TEST_F(Permission, TheModeIsNeverWiderThanAskedForAtAnyStep) {  // "world-writable"
  const umask_of none(0);
  for (const bool in_place : {false, true}) {
    std::optional<no_nameless_files> old_filesystem;
    if (in_place) old_filesystem.emplace();
    const seam watching([&](std::string_view) {
      struct stat s {};
      if (::lstat(name().c_str(), &s) == 0) {
        EXPECT_EQ(s.st_mode & 07777 & ~0640U, 0U);
      }
      return 0;
    });
    { const named_lock lock(name(), {.mode = 0640}); }
    fs::remove(name());
  }
}

TEST_F(Permission, TheGroupAskedForIsApplied) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file to any group";
  for (const bool in_place : {false, true}) {
    std::optional<no_nameless_files> old_filesystem;
    if (in_place) old_filesystem.emplace();
    { const named_lock lock(name(), {.mode = 0660, .group = 12345}); }
    struct stat s {};
    ASSERT_EQ(::stat(name().c_str(), &s), 0);
    EXPECT_EQ(s.st_gid, 12345U);
    EXPECT_EQ(s.st_mode & 07777, 0660U);
    EXPECT_EQ(s.st_uid, ::geteuid());
    fs::remove(name());
  }
}

TEST_F(Permission, TheModeIsNotOpenToAWrongGroupAtAnyStep) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file to any group";
  const no_nameless_files old_filesystem;  // with them nobody sees the steps
  const seam watching([&](std::string_view) {
    struct stat s {};
    if (::lstat(name().c_str(), &s) == 0 && s.st_gid != 12345) {
      EXPECT_EQ(s.st_mode & 0070, 0U) << "writable to group " << s.st_gid << " for a moment";
    }
    return 0;
  });
  const named_lock lock(name(), {.mode = 0660, .group = 12345});
}

TEST_F(Permission, AGroupThatIsNotOursIsAClearErrorAndLeavesNothing) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(::chmod(directory().c_str(), 0777), 0);
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    expect_error(std::errc::operation_not_permitted, name(),
                 [&] { const named_lock lock(name(), {.group = 12345}); });
    EXPECT_EQ(files_in(directory()), 0U);
  }));
}

TEST_F(Permission, AnotherUserGetsAClearError) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  named_lock owner(name());
  owner.lock();
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    const auto denied = std::errc::permission_denied;
    expect_error(denied, name(), [&] { const named_lock lock(name()); });
    expect_error(denied, name(), [&] { (void)observe(name()); });
    expect_error(denied, name(), [&] { break_lock(name(), fencing_token()); });
    expect_error(denied, name(), [&] { lockbyfile::remove(name()); });
    EXPECT_TRUE(prune(directory()).empty());
    EXPECT_EQ(list(directory()), std::vector{name()}) << "judged by its name";
  }));
  EXPECT_TRUE(owner.is_held());
}

TEST_F(Permission, AReaderMayLookAndNoMore) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  named_lock owner(name(), {.mode = 0644});
  owner.lock();
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    const auto state = observe(name());
    ASSERT_TRUE(state.holder);
    EXPECT_TRUE(state.holder->alive);
    EXPECT_EQ(state.holder->who.pid, static_cast<unsigned>(::getppid()));
    EXPECT_EQ(list(directory()), std::vector{name()});
    const auto denied = std::errc::permission_denied;
    expect_error(denied, name(), [&] { const named_lock lock(name()); });
    expect_error(denied, name(), [&] { break_lock(name(), fencing_token()); });
    expect_error(denied, name(), [&] { lockbyfile::remove(name()); });
  }));
  EXPECT_TRUE(owner.is_held());
}

TEST_F(Permission, UsersWhoMayWriteShareTheLock) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  named_lock ours(name(), {.mode = 0666});
  ours.lock();
  lock_process theirs(name(), {}, become_nobody);
  EXPECT_EQ(theirs.acquire(0ns).error, errc::timed_out);
  queue(theirs);
  EXPECT_EQ(look().waiters.at(0).who.user, nobody);
  ours.unlock();
  const outcome o = theirs.end_acquire();
  ASSERT_TRUE(o);
  EXPECT_GT(o.granted.token, ours.token());
  theirs.kill();
  EXPECT_EQ(ours.acquire(1min).how, grant_kind::abandoned);
}

// TORTURE 17

TEST_F(Permission, InAStickyDirectoryItWorksForTheOwnerAndForThoseAllowed) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(::chmod(directory().c_str(), 01777), 0);
  {
    const named_lock ours(name(), {.mode = 0666});
    lock_process theirs(name(), {}, become_nobody);
    EXPECT_TRUE(theirs.acquire(0ns));
    EXPECT_EQ(theirs.release(), std::error_code());
  }
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    expect_error(std::errc::operation_not_permitted, name(), [&] { lockbyfile::remove(name()); });
    EXPECT_TRUE(prune(directory()).empty());
    named_lock lock(name());
    EXPECT_TRUE(lock.try_lock()) << "a removal that failed leaves a working lock";

    named_lock own(name() + ".nobody", {.mode = 0666});
    EXPECT_TRUE(own.try_lock());
  }));
  EXPECT_TRUE(fs::exists(name()));
  named_lock of_nobody(name() + ".nobody");
  EXPECT_TRUE(of_nobody.try_lock()) << "root, and a file of another user";
}

TEST_F(Permission, NoOpenAsksToCreateWhatMayExist) {  // fs.protected_regular has no part in it
  static int (*const real)(const char*, int, mode_t) = sys.open;
  const struct restore {
    ~restore() { sys.open = real; }
  } at_exit;
  sys.open = [](const char* path, int flags, mode_t mode) {
    EXPECT_TRUE((flags & O_CREAT) == 0 || (flags & O_EXCL) != 0) << path;
    EXPECT_EQ(flags & O_TRUNC, 0) << path;
    EXPECT_NE(flags & O_CLOEXEC, 0) << path;
    return real(path, flags, mode);
  };
  for (const bool in_place : {false, true}) {
    std::optional<no_nameless_files> old_filesystem;
    if (in_place) old_filesystem.emplace();
    named_lock lock(name());
    named_lock other(name());
    for (int i = 0; i < 20'000; ++i) {  // until there is a mark for the tokens, too
      lock.lock();
      lock.unlock();
    }
    (void)look();
    fs::remove(name());
    outlive_the_last_look_at_the_path();
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
    lockbyfile::remove(name());
    prune(directory());
  }
}

// TORTURE 18

TEST_F(Permission, AReadOnlyDirectoryIsNamed) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    expect_error(std::errc::permission_denied, name(), [&] { const named_lock lock(name()); });
    const no_nameless_files old_filesystem;
    expect_error(std::errc::permission_denied, name(), [&] { const named_lock lock(name()); });
  }));
  EXPECT_EQ(files_in(directory()), 0U);
}

TEST_F(Permission, ADirectoryThatMayNotBeEnteredIsNamed) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  { const named_lock lock(name()); }
  ASSERT_EQ(::chmod(directory().c_str(), 0700), 0);
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    for (const auto& call : std::vector<std::function<void()>>{
             [&] { const named_lock lock(name()); }, [&] { (void)observe(name()); },
             [&] { lockbyfile::remove(name()); },
             [&] { const named_lock lock("bed", {.directory = directory() + "/sub"}); }}) {
      try {
        call();
        ADD_FAILURE();
      } catch (const lock_error& error) {
        EXPECT_EQ(error.code(), std::errc::permission_denied) << error.what();
        EXPECT_NE(std::string(error.what()).find(directory()), std::string::npos) << error.what();
      }
    }
  }));
}

TEST_F(Permission, AReadOnlyFilesystemIsNamedAndStillShowsItsLocks) {
  if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
  EXPECT_TRUE(passes_in_child([&] {
    leave_mount_namespace();
    mount_tmpfs(directory(), "size=64k,mode=755");
    { const named_lock lock(name()); }
    ASSERT_EQ(::mount("none", directory().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);

    const auto read_only = std::errc::read_only_file_system;
    const std::string missing = directory() + "/missing";
    expect_error(read_only, missing, [&] { const named_lock lock(missing); });
    expect_error(read_only, name(), [&] { const named_lock lock(name()); });
    expect_error(read_only, name(), [&] { break_lock(name(), fencing_token()); });
    expect_error(read_only, name(), [&] { lockbyfile::remove(name()); });
    EXPECT_FALSE(observe(name()).holder);
    EXPECT_EQ(list(directory()), std::vector{name()});
    EXPECT_TRUE(prune(directory()).empty());
    const no_nameless_files old_filesystem;
    expect_error(read_only, missing, [&] { const named_lock lock(missing); });
  }));
}

TEST_F(Permission, ThatIsTakenAwayLaterStopsNewSessionsOnly) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can become another user";
  const named_lock made(name(), {.mode = 0666});
  lock_process theirs(name(), {}, become_nobody);
  ASSERT_TRUE(theirs.acquire(0ns));
  ASSERT_EQ(::chmod(name().c_str(), 0600), 0);
  EXPECT_TRUE(theirs.is_held());
  EXPECT_EQ(theirs.release(), std::error_code());
  EXPECT_TRUE(theirs.acquire(0ns));
  EXPECT_TRUE(passes_in_child([&] {
    become_nobody();
    expect_error(std::errc::permission_denied, name(), [&] { const named_lock lock(name()); });
  }));
}

}  // namespace
}  // namespace lockbyfile
