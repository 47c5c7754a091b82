// SPDX-License-Identifier: Apache-2.0
//
// SIGBUS without a truncation: the system can neither read nor write a page of the lockfile, which
// is as it was. The holder keeps its lock, and all others get the system's error.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <lockbyfile/lockbyfile.hpp>
#include <string>

#include "support/files.hpp"
#include "support/filesystems.hpp"
#include "support/sanitizers.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// A way to make the next write to a page fail, and to end that.
class Unusable : public FilesystemTest {
 protected:
  /// The pages are clean from now on, so the next write to one asks the filesystem.
  static void write_back(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(::fsync(fd), 0);
    ::close(fd);
    ::sync();
  }

  static bool set_immutable(const std::string& path, bool on) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    int flags = 0;
    const bool known = ::ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
    flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
    const bool done = known && ::ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    ::close(fd);
    return done;
  }

  void fill() const {
    const int fd =
        ::open((directory() + "/filler").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    const std::string page(4096, 'x');
    for (int round = 0; round < 3; ++round) {
      while (::write(fd, page.data(), page.size()) > 0 || ::write(fd, page.data(), 1) > 0) {
      }
      ::fsync(fd);
      ::sync();
    }
    ::close(fd);
  }

  /// While `begin` has come and `end` has not, the file cannot be written.
  template <class Begin, class End>
  void holder_keeps_its_lock(std::errc cause, Begin begin, End end) const {
    named_lock holder(name(), {.lease = 1h});
    named_lock waiter(name());
    holder.lock();
    const fencing_token token = holder.token();
    write_back(name());
    begin();
    EXPECT_TRUE(holder.is_held()) << "nobody broke anything";
    std::error_code ec;
    holder.renew(ec);
    EXPECT_EQ(ec, cause) << ec.message();
    EXPECT_TRUE(holder.is_held()) << "after a renewal that failed";
    const auto begun = steady_now();
    try {
      (void)waiter.acquire(200ms, {}, ec);
      EXPECT_TRUE(ec == errc::timed_out || ec == cause) << ec.message();
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), cause) << error.what();
    }
    EXPECT_LT(steady_now() - begun, 10s) << "patience";
    lockbyfile::break_lock(name(), {}, {}, ec);
    EXPECT_EQ(ec, cause) << ec.message();
    end();
    EXPECT_TRUE(holder.is_held());
    holder.renew(ec);
    EXPECT_FALSE(ec) << ec.message();
    EXPECT_EQ(holder.token(), token);
    EXPECT_FALSE(waiter.try_lock());
    holder.release(ec);
    EXPECT_FALSE(ec) << ec.message();
    EXPECT_TRUE(waiter.try_lock_for(1min));
    waiter.unlock();
  }

  /// A release that cannot write lets others in as soon as the file can be written.
  template <class Begin, class End>
  void release_opens_the_lock(Begin begin, End end) const {
    named_lock holder(name(), {.lease = 1h});
    holder.lock();
    const fencing_token token = holder.token();
    write_back(name());
    begin();
    std::error_code ec;
    holder.release(ec);
    EXPECT_FALSE(ec) << ec.message();
    EXPECT_FALSE(holder.is_held());
    end();
    named_lock next(name());
    const grant g = next.acquire(1min);
    EXPECT_GT(g.token, token);
    EXPECT_EQ(g.how, grant_kind::abandoned);
    next.unlock();
    EXPECT_TRUE(holder.try_lock_for(1min)) << "by a new slot";
  }
};

INSTANTIATE_TEST_SUITE_P(On, Unusable, ::testing::Values(ext4),
                         [](const auto& p) { return p.param.name; });

TEST_P(Unusable, ByChattrTheHolderKeepsItsLockAndAllAreToldWhy) {
  in_it([&] {
    { const named_lock made(name()); }
    if (!set_immutable(name(), true)) return;  // this filesystem has no such flag
    ASSERT_TRUE(set_immutable(name(), false));
    const auto begin = [&] { ASSERT_TRUE(set_immutable(name(), true)); };
    const auto end = [&] { ASSERT_TRUE(set_immutable(name(), false)); };
    holder_keeps_its_lock(std::errc::operation_not_permitted, begin, end);
    release_opens_the_lock(begin, end);
  });
}

TEST_P(Unusable, ByAnEmergencyRemountTheHolderKeepsItsLockAndOthersAreToldWhy) {
  in_it([&] {
    const std::string here = "'" + directory() + "'";
    // What the kernel does by itself when the disk's structures are wrong.
    const std::string error = "mount -o remount,errors=remount-ro " + here +
                              " && d=$(basename $(findmnt -no SOURCE " + here +
                              ")) && echo test >/sys/fs/ext4/$d/trigger_fs_error";
    named_lock holder(name(), {.lease = 1h});
    holder.lock();
    write_back(name());
    if (std::system(("(" + error + ") 2>/dev/null").c_str()) != 0) return;  // not to be had here
    EXPECT_TRUE(holder.is_held());
    std::error_code ec;
    holder.renew(ec);  // ext4 writes in memory to blocks that it has; others do not
    EXPECT_TRUE(!ec || ec == std::errc::read_only_file_system || ec == std::errc::io_error)
        << ec.message();
    EXPECT_TRUE(holder.is_held());
    try {
      const named_lock other(name());
      ADD_FAILURE() << "no test at all";
    } catch (const lock_error& told) {
      EXPECT_EQ(told.code(), std::errc::read_only_file_system) << told.what();
    }
    EXPECT_TRUE(holder.is_held());
    holder.release(ec);
    EXPECT_FALSE(ec) << ec.message();
  });
}

/// A disk whose last blocks cannot be read for a while: those of the lockfile.
class UnreadableDisk : public Unusable {
 protected:
  /// The loop device ends before the lockfile's first page, or with its image.
  bool end_device(bool before_the_file) const {
    struct stat s {};
    if (::stat(name().c_str(), &s) != 0) return false;
    const int file = ::open(name().c_str(), O_RDONLY | O_CLOEXEC);
    const int loop =
        ::open(("/dev/loop" + std::to_string(minor(s.st_dev))).c_str(), O_RDWR | O_CLOEXEC);
    int block = 0;
    int block_size = 0;
    struct loop_info64 info {};
    const bool is_known = major(s.st_dev) == LOOP_MAJOR && loop >= 0 &&
                          ::ioctl(file, FIBMAP, &block) == 0 &&
                          ::ioctl(file, FIGETBSZ, &block_size) == 0 && block > 0 &&
                          ::ioctl(loop, LOOP_GET_STATUS64, &info) == 0;
    const auto start = static_cast<std::uint64_t>(block) * static_cast<unsigned>(block_size);
    info.lo_sizelimit = before_the_file ? start : 0;
    const bool done = is_known && ::ioctl(loop, LOOP_SET_STATUS64, &info) == 0;
    ::close(file);
    ::close(loop);
    return done;
  }

  /// So that the next look at a page reads the disk.
  void forget_pages() const {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (!line.ends_with(name())) continue;
      const auto begin = std::stoull(line, nullptr, 16);
      const auto end = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
      ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
    const int fd = ::open(name().c_str(), O_RDONLY | O_CLOEXEC);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
};

INSTANTIATE_TEST_SUITE_P(On, UnreadableDisk, ::testing::Values(ext2),
                         [](const auto& p) { return p.param.name; });

TEST_P(UnreadableDisk, LeavesTheHolderItsLockAndAllAreToldWhy) {
  in_it([&] {
    write_file(directory() + "/first", std::string(100'000, 'x'));  // so the lockfile is behind
    { const named_lock made(name()); }
    ::sync();
    if (!end_device(true)) return;  // no loop device that obeys
    ASSERT_TRUE(end_device(false));
    const auto begin = [&] {
      ASSERT_TRUE(end_device(true));
      forget_pages();
      char byte = 0;
      const int fd = ::open(name().c_str(), O_RDONLY | O_CLOEXEC);
      ASSERT_EQ(::pread(fd, &byte, 1, 0), -1) << "no test at all";
      ASSERT_EQ(errno, EIO);
      ::close(fd);
    };
    const auto end = [&] { ASSERT_TRUE(end_device(false)); };
    holder_keeps_its_lock(std::errc::io_error, begin, end);
    release_opens_the_lock(begin, end);
  });
}

class UnusableCopyOnWrite : public Unusable {};

INSTANTIATE_TEST_SUITE_P(On, UnusableCopyOnWrite,
                         ::testing::Values(filesystem_kind{"btrfs", "mkfs.btrfs -q -f", 128}),
                         [](const auto& p) { return p.param.name; });

TEST_P(UnusableCopyOnWrite, FullDiskLeavesTheHolderItsLockAndAllAreToldWhy) {
  in_it([&] {
    { const named_lock made(name()); }
    const auto begin = [&] { fill(); };
    const auto end = [&] {
      fs::remove(directory() + "/filler");
      ::sync();
    };
    holder_keeps_its_lock(std::errc::no_space_on_device, begin, end);
    release_opens_the_lock(begin, end);
  });
}

TEST_P(UnusableCopyOnWrite, FullDiskDoesNotKeepAWaiterBeyondItsPatience) {
  in_it([&] {
    lock_process holder(name());
    ASSERT_TRUE(holder.acquire(0ns));
    lock_process waiter(name());
    queue(waiter, 2s);
    write_back(name());
    fill();
    const auto begun = steady_now();
    const outcome o = waiter.end_acquire();
    EXPECT_TRUE(o.error == errc::timed_out || o.error == std::errc::no_space_on_device) << o;
    EXPECT_LT(steady_now() - begun, 30s);
    EXPECT_TRUE(holder.is_held());
  });
}

class MapCount : public LockTest {
 protected:
  /// Maps until the system has no mapping left for this process.
  static void use_up_all_mappings() {
    constexpr std::size_t most = 70'000;
    char* const range = static_cast<char*>(::mmap(
        nullptr, 2 * most * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ASSERT_NE(range, MAP_FAILED);
    for (std::size_t i = 0; i < most; ++i) {
      if (::mprotect(range + 2 * i * 4096, 4096, PROT_READ) != 0) break;
    }
    while (::mmap(nullptr, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
    }
    ASSERT_EQ(errno, ENOMEM);
  }
};

TEST_F(MapCount, UsedUpATruncationIsSurvivedAndOpeningIsAClearError) {
  if (under_sanitizer) GTEST_SKIP() << "sanitizers need mappings of their own";
  EXPECT_TRUE(passes_in_child([&] {
    named_lock lock(name());
    lock.lock();
    use_up_all_mappings();
    truncate_file(name(), 0);
    EXPECT_FALSE(lock.is_held());
    try {
      const named_lock other(name() + "2");
      const named_lock one_more(name() + "3");
      ADD_FAILURE() << "no test at all";
    } catch (const lock_error& error) {
      EXPECT_EQ(error.code(), std::errc::not_enough_memory) << error.what();
      EXPECT_NE(std::string(error.what()).find("max_map_count"), std::string::npos) << error.what();
    }
  }));
}

/// A mmap that fails as Linux up to 6.11 may: what it was to replace is gone.
class FailedRemapping : public LockTest {
 protected:
  static inline void* (*real)(void*, std::size_t, int, int, int, off_t) = nullptr;
  static inline int failures = 0;
  static inline bool is_of_files_only = false;  // mappings of zeros succeed
  static inline void* hole = nullptr;
  static inline bool is_left_open = false;  // when the next file is mapped

  static void* failing(void* where, std::size_t size, int protection, int flags, int fd,
                       off_t offset) {
    const bool is_fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    if (is_fixed && failures > 0 && (fd >= 0 || !is_of_files_only)) {
      --failures;
      ::munmap(where, size);
      hole = where;
      errno = ENOMEM;
      return MAP_FAILED;
    }
    if (fd >= 0 && hole != nullptr && !is_mapped(hole)) is_left_open = true;
    return real(where, size, protection, flags, fd, offset);
  }

  void SetUp() override {
    real = std::exchange(sys.mmap, failing);
    hole = nullptr;
    is_left_open = false;
    is_of_files_only = false;
  }
  void TearDown() override {
    sys.mmap = real;
    failures = 0;
  }

  static bool is_mapped(void* where) {
    unsigned char there = 0;
    return ::mincore(where, 4096, &there) == 0;
  }
};

TEST_F(FailedRemapping, LeavesNoHoleInTheAddressSpace) {
  for (const bool is_of_file : {false, true}) {
    SCOPED_TRACE(is_of_file);
    is_of_files_only = is_of_file;
    hole = nullptr;
    named_lock lock(name());
    lock.lock();
    lock.unlock();
    fs::remove(name());  // so that it has to open the next file
    outlive_the_last_look_at_the_path();
    failures = 1;
    std::error_code ec;
    EXPECT_TRUE(lock.acquire(0ns, {}, ec) || ec == std::errc::not_enough_memory) << ec.message();
    ASSERT_NE(hole, nullptr) << "no test at all";
    EXPECT_TRUE(is_mapped(hole) && !is_left_open) << "another mapping may come to be there";
    EXPECT_TRUE(lock.is_held() || lock.try_lock_for(1min));
  }
}

TEST_F(FailedRemapping, ThatLeavesAHoleLeavesAloneWhatComesToBeThere) {
  void* theirs = nullptr;
  {
    named_lock lock(name());
    fs::remove(name());
    outlive_the_last_look_at_the_path();
    failures = 100;  // not even zeros
    std::error_code ec;
    EXPECT_FALSE(lock.acquire(0ns, {}, ec));
    EXPECT_EQ(ec, std::errc::not_enough_memory) << ec.message();
    failures = 0;
    ASSERT_NE(hole, nullptr);
    theirs =
        real(hole, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    ASSERT_EQ(theirs, hole);
    *static_cast<volatile char*>(theirs) = 'x';
    EXPECT_FALSE(lock.is_held()) << "and it does not crash";
    EXPECT_TRUE(lock.acquire(0ns, {}, ec)) << "elsewhere";
  }
  ASSERT_TRUE(is_mapped(theirs)) << "it was unmapped with the lock";
  EXPECT_EQ(*static_cast<volatile char*>(theirs), 'x');
  ::munmap(theirs, 4096);
}

}  // namespace
}  // namespace lockbyfile
