// SPDX-License-Identifier: Apache-2.0
//
// The system refuses, at any call, with any error that the call has: TORTURE 19. Either it
// does not matter, or there is an error that names the path; nothing is held, nothing is
// leaked, and the next try works.
#include <gtest/gtest.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/instant.hpp"
#include "file/fault_deeds.hpp"
#include "file/word.hpp"
#include "linux/clock_identity.hpp"
#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using faults::deed;
using faults::end_sessions;
using faults::session;

/// The errors that each call of the seam may give: those of its man page, and those that
/// filesystems give without saying so there (EDQUOT, ESTALE), or a sandbox (ENOSYS).
const struct {
  std::string_view call;
  std::set<int> errors;
  std::set<int> harmless = {};  // must not even be noticed
} errors_of_calls[] = {
    {"open",
     {EACCES, EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EPERM, EROFS, ESTALE, EINTR}},
    {"close", {}, {EDQUOT, EINTR, EIO, ENOSPC}},  // it has closed nevertheless
    {"fstat", {EACCES, EIO, ENOMEM, ENOSYS, ESTALE}},
    {"lstat", {EACCES, EIO, ENOMEM, ENOSYS, ESTALE}},
    {"birth", {}, {EACCES, EIO, ENODATA, ENOSYS, EPERM}},  // then the inode's number must do
    {"fstatfs", {EIO, ENOMEM, ESTALE}, {EINTR, ENOSYS}},
    {"fcntl_lock", {EACCES, EAGAIN, EIO, ENOLCK, ENOMEM, ENOSYS, ESTALE}, {EINTR}},
    {"fallocate", {EDQUOT, EIO, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM}, {EINTR}},
    {"fchmod", {EIO, ENOSYS, EPERM, EROFS}},
    {"fchown", {EDQUOT, EIO, ENOMEM, ENOSYS, EPERM, EROFS}},
    {"linkat", {EACCES, EDQUOT, EIO, ENOMEM, ENOSPC, ENOSYS, EPERM, EROFS}},
    {"unlink", {EACCES, EBUSY, EDQUOT, EIO, ENOMEM, ENOSPC, ENOSYS, EPERM, EROFS}},
    {"mmap", {EACCES, EAGAIN, ENFILE, ENODEV, ENOMEM, EPERM}},
    {"pread", {EINTR, EIO, ENOMEM, ESTALE}},
    {"write", {EDQUOT, EFBIG, EINTR, EIO, ENOSPC, EPERM}},
    {"kernel_clock_gettime", {}, {ENOSYS, EPERM}},  // then nothing says that our clock is wrong
    {"futex_wait", {}, {EAGAIN, EINTR, ENOMEM, ENOSYS, ETIMEDOUT}},  // a spurious wake
    {"futex_wake", {}, {EINVAL, ENOSYS}},  // a waiter that is not woken looks itself (line.hpp, L4)
};
// Left out:
//   - clock_gettime: it reads memory (vDSO) and fails only for clocks that do not exist.
//   - munmap: it unmaps only mappings of our own, and its failure could not be mended.
//   - dirty_pages: it is asked only on some filesystems, with some patience
//     (environment/frozen_test.cpp).

struct fault {
  std::string_view call;
  int error;
  bool is_harmless;
  friend std::ostream& operator<<(std::ostream& out, const fault& f) {
    return out << f.call << '_' << ::strerrorname_np(f.error);
  }
};

std::vector<fault> once() {
  std::vector<fault> all;
  for (const auto& [call, errors, harmless] : errors_of_calls) {
    for (const int error : errors) all.push_back({call, error, false});
    for (const int error : harmless) all.push_back({call, error, true});
  }
  return all;
}

std::vector<fault> lasting() {  // except signals: an interrupted call is repeated
  std::vector<fault> all = once();
  std::erase_if(all, [](const fault& f) { return f.error == EINTR; });
  return all;
}

class Fault : public LockTest, public ::testing::WithParamInterface<fault> {
 protected:
  void TearDown() override { end_sessions(); }

  void prepare(const deed& d) const {
    end_sessions();
    fs::remove(name());
    fs::remove(name() + ".tokens");
    faults::clocks.emplace();
    d.prepare(name());
  }

  /// The error, whose sentence names the lockfile or the file in /proc that it is about.
  [[nodiscard]] std::error_code commit(const deed& d) const {
    try {
      d.commit(name());
    } catch (const lock_error& error) {
      EXPECT_FALSE(error.path().empty()) << error.what();
      EXPECT_TRUE(error.path() == name() || error.path().starts_with("/proc/")) << error.path();
      EXPECT_NE(std::string(error.what()).find(error.path()), std::string::npos) << error.what();
      return error.code();
    }
    return {};
  }

  /// Who holds the lock, if there is one.
  [[nodiscard]] fencing_token holder() const {
    std::error_code ec;
    const auto state = observe(name(), {}, ec);
    return state && state->holder ? state->holder->token : fencing_token();
  }

  void expect_that_it_works_now() const {
    if (session) {
      faults::let_time_pass();
      ASSERT_TRUE(session->is_held() || session->try_lock()) << "the next try";
      EXPECT_EQ(holder(), session->token());
    }
    { const named_lock beside_all_others(name()); }
    end_sessions();
    named_lock first(name());
    named_lock second(name());
    ASSERT_TRUE(first.try_lock()) << "the next try";
    ASSERT_FALSE(second.try_lock());
  }

  /// How often the operation makes the call of this test.
  [[nodiscard]] std::size_t calls_of(const deed& d) const {
    prepare(d);
    std::size_t calls = 0;
    const seam counting([&](std::string_view call) {
      if (call == GetParam().call) ++calls;
      return 0;
    });
    EXPECT_FALSE(commit(d)) << d.name << " without any fault";
    return calls;
  }

  /// Runs the operation with `judge` asked before each call. Then checks all promises.
  void commit_and_check(const deed& d, const std::function<int(std::string_view)>& judge) {
    prepare(d);
    const fencing_token held_before = holder();
    std::error_code ec;
    {
      const seam failing(judge);
      ec = commit(d);
    }
    if (GetParam().is_harmless) {
      EXPECT_FALSE(ec) << ec.message();
    }
    if (ec && holder()) {
      EXPECT_EQ(holder(), held_before) << "an error, and yet something is held";
    }
    expect_that_it_works_now();
  }
};

TEST_P(Fault, OnceIsAClearErrorOrDoesNotMatterAndLeaksNothing) {
  std::size_t faults = 0;
  for (const deed& d : faults::all) {
    const std::size_t calls = calls_of(d);
    faults += calls;
    end_sessions();  // by now what is allocated once is allocated
    const resources before = resources::in_use();
    for (std::size_t fatal = 1; fatal <= calls; ++fatal) {
      SCOPED_TRACE(d.name + ", call " + std::to_string(fatal));
      std::size_t call_number = 0;
      commit_and_check(d, [&](std::string_view call) {
        return call == GetParam().call && ++call_number == fatal ? GetParam().error : 0;
      });
      if (HasFatalFailure()) return;
    }
    SCOPED_TRACE(d.name);
    end_sessions();
    const resources after = resources::in_use();
    EXPECT_EQ(after.mappings, before.mappings);
    // If the system cannot tell whether a descriptor is still ours, it is rather left open
    // than another's closed.
    const std::size_t undecided = GetParam().call == "fstat" ? calls : 0;
    EXPECT_LE(after.descriptors, before.descriptors + undecided);
  }
  EXPECT_GT(faults, 0U) << "no deed makes this call";
}

class LastingFault : public Fault {};

TEST_P(LastingFault, EndsInAnErrorOrDoesNotMatterAndDoesNotLoop) {
  for (const deed& d : faults::all) {
    if (calls_of(d) == 0) continue;
    SCOPED_TRACE(d.name);
    commit_and_check(d, [&](std::string_view call) {
      if (call == "clock_gettime") shifted_clocks::steady() += 1'000'000;  // goes by
      return call == GetParam().call ? GetParam().error : 0;
    });
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(At, Fault, ::testing::ValuesIn(once()),
                         [](const auto& p) { return ::testing::PrintToString(p.param); });
INSTANTIATE_TEST_SUITE_P(At, LastingFault, ::testing::ValuesIn(lasting()),
                         [](const auto& p) { return ::testing::PrintToString(p.param); });

// What the table cannot say

using FaultOfALook = LockTest;

TEST_F(FaultOfALook, AtThePathIsNoLossOfAGrant) {  // the word still says who holds the lock
  named_lock holder(name());
  holder.lock();
  for (const int error : {EIO, ENOMEM, EACCES}) {
    outlive_the_last_look_at_the_path();
    std::error_code ec;
    {
      const seam failing([&](std::string_view call) { return call == "lstat" ? error : 0; });
      EXPECT_TRUE(holder.is_held());
      holder.renew(ec);
    }
    EXPECT_EQ(ec == errc::lease_lost, !holder.is_held()) << "two answers: " << ec.message();
  }
}

using FaultOfTheFilesystem = LockTest;

TEST_F(FaultOfTheFilesystem, ThatCannotBeToldIsAnErrorSinceItMayBeANetworks) {
  for (const int error : {EIO, ENOMEM, ESTALE}) {
    const seam failing([&](std::string_view call) { return call == "fstatfs" ? error : 0; });
    std::error_code ec;
    EXPECT_FALSE(named_lock::open(name(), {}, ec));
    EXPECT_EQ(ec, std::error_code(error, std::system_category()));
    EXPECT_FALSE(fs::exists(name()));
  }
}

using FaultOfTheMark = LockTest;

TEST_F(FaultOfTheMark, WrittenByHalfIsMadeGoodByTheNext) {  // the disk was full; tokens.hpp
  static ssize_t (*const real)(int, const void*, std::size_t) = sys.write;
  static std::size_t room = 0;
  const std::string mark = name() + ".tokens";
  for (const std::size_t written : {1U, 9U, 16U}) {
    SCOPED_TRACE(std::to_string(written) + " bytes of a second line");
    fs::remove(mark);
    named_lock lock(name());
    put_ahead_of_the_clock(name(), 1h);
    lock.lock();
    lock.unlock();
    ASSERT_EQ(content_of(mark).size(), 17U);
    put_ahead_of_the_clock(name(), 2h);
    room = written;
    sys.write = [](int fd, const void* data, std::size_t size) -> ssize_t {
      if (room == 0) return errno = ENOSPC, -1;
      const ssize_t n = real(fd, data, std::min(size, room));
      room -= static_cast<std::size_t>(n);
      return n;
    };
    std::error_code ec;
    EXPECT_FALSE(lock.acquire(0ns, {}, ec));
    sys.write = real;
    EXPECT_EQ(ec, std::errc::no_space_on_device) << "the cause";
    ASSERT_EQ(content_of(mark).size(), 17U + written);

    ASSERT_TRUE(lock.acquire(0ns, {}, ec)) << "the next try: " << ec.message();
    const std::string lines = content_of(mark);
    ASSERT_EQ(lines.size(), 3 * 17U);
    const std::uint64_t marked = std::stoull(lines.substr(std::size_t{2} * 17));
    EXPECT_LE(std::stoull(lines.substr(17, 16)), marked);
    EXPECT_GE(marked, lock.token().value());
    const fencing_token last = lock.token();
    fs::remove(name());
    EXPECT_GT(named_lock(name()).acquire(0ns).token, last);
  }
}

TEST_F(FaultOfTheMark, ThatCannotBeReadSaysWhy) {
  write_file(name() + ".tokens", "1790000000000000\n");
  for (const std::string_view call : {"fstat", "pread"}) {
    static bool reading;
    reading = false;
    static int (*const real)(const char*, int, mode_t) = sys.open;
    sys.open = [](const char* path, int flags, mode_t mode) {
      reading = std::string_view(path).ends_with(".tokens");
      return real(path, flags, mode);
    };
    {
      const seam failing([&](std::string_view c) { return reading && c == call ? EIO : 0; });
      try {
        const named_lock lock(name());
        ADD_FAILURE() << "started anew";
      } catch (const lock_error& error) {
        EXPECT_EQ(error.code(), std::error_code(EIO, std::system_category())) << error.what();
        EXPECT_NE(std::string(error.what()).find(name() + ".tokens"), std::string::npos);
      }
    }
    sys.open = real;
  }
  EXPECT_TRUE(named_lock(name()).try_lock());
}

using FaultOfTheFutex = LockTest;

TEST_F(FaultOfTheFutex, InBothProcessesLeavesAWaitThatEndsInTime) {  // a sandbox without it
  const seam without([](std::string_view call) { return call.starts_with("futex") ? ENOSYS : 0; });
  named_lock holder(name());
  holder.lock();
  lock_process waiter(name());
  const outcome late = waiter.acquire(20ms);
  EXPECT_EQ(late.error, errc::timed_out);
  EXPECT_GE(late.ended - late.begun, 20ms);
  queue(waiter);
  holder.unlock();
  EXPECT_TRUE(waiter.end_acquire());
}

}  // namespace
}  // namespace lockbyfile
