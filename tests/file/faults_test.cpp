// SPDX-License-Identifier: Apache-2.0
//
// The system refuses, at any call: TORTURE 19. Either it does not matter, or there is an
// error that names the path; nothing is held, nothing is leaked, and the next try works.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <list>
#include <lockbyfile/lockbyfile.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "file/layout.hpp"
#include "linux/clock_identity.hpp"
#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// Something done to a lock, in a file that is prepared for it.
struct deed {
  std::string name;
  std::function<void(const std::string& path)> prepare;
  std::function<void(const std::string& path)> commit;
  friend std::ostream& operator<<(std::ostream& out, const deed& d) { return out << d.name; }
};

void make(const std::string& path) { const named_lock lock(path); }
void nothing(const std::string&) {}

/// The session that some deeds need, opened beforehand.
std::optional<named_lock> session;
std::list<named_lock> crowd;

const deed deeds[] = {
    {"Create", nothing,
     [](const std::string& path) {
       const named_lock lock(path, {.mode = 0640, .group = static_cast<unsigned>(::getegid())});
     }},
    {"CreateInPlace", nothing,
     [](const std::string& path) {
       const no_nameless_files old_filesystem;
       const named_lock lock(path);
     }},
    {"Open", make, make},
    {"CompleteAnEmptyFile", [](const std::string& path) { write_file(path, ""); }, make},
    {"RepairADamagedFile",
     [](const std::string& path) {
       make(path);
       mapped_lockfile(path)->header.capacity.store(0);
     },
     make},
    {"TellTheBoot",
     [](const std::string& path) {
       make(path);
       forget_this_clock();
     },
     make},
    {"GrowTheFile",
     [](const std::string& path) {
       crowd.clear();
       for (std::uint32_t i = 0; i < file::first_capacity; ++i) crowd.emplace_back(path);
     },
     make},
    {"Acquire", [](const std::string& path) { session.emplace(path); },
     [](const std::string&) {
       (void)session->acquire(0ns);
       session->unlock();
     }},
    {"AcquireAfterTheFileWasReplaced",
     [](const std::string& path) {
       session.emplace(path);
       fs::remove(path);
       outlive_the_last_look_at_the_path();
     },
     [](const std::string&) {
       (void)session->acquire(0ns);
       session->unlock();
     }},
    {"AcquireAheadOfTheClock",
     [](const std::string& path) {
       session.emplace(path);
       const std::uint64_t ahead = read_clock(CLOCK_REALTIME) / 1000 + 3'600'000'000;
       mapped_lockfile(path)->header.word.store(file::word::free_at(ahead).bits());
     },
     [](const std::string&) {
       (void)session->acquire(0ns);
       session->unlock();
     }},
    {"Observe", make, [](const std::string& path) { (void)observe(path); }},
    {"Break",
     [](const std::string& path) {
       session.emplace(path);
       session->lock();
     },
     [](const std::string& path) { break_lock(path, fencing_token()); }},
    {"Remove", make, [](const std::string& path) { lockbyfile::remove(path); }},
};

/// Calls whose failure can be told from success and of which the real call is not needed.
bool can_fail(std::string_view call) {
  return call != "close" && call != "munmap" && call != "clock_gettime" && call != "futex_wait" &&
         call != "futex_wake";
}

class Fault : public LockTest, public ::testing::WithParamInterface<deed> {
 protected:
  void TearDown() override { end_sessions(); }

  static void end_sessions() {
    session.reset();
    crowd.clear();
  }

  void prepare() const {
    end_sessions();
    fs::remove(name());
    fs::remove(name() + ".tokens");
    GetParam().prepare(name());
  }

  /// The error, whose sentence names the lockfile or the file in /proc that it is about.
  [[nodiscard]] std::error_code commit() const {
    try {
      GetParam().commit(name());
    } catch (const lock_error& error) {
      EXPECT_FALSE(error.path().empty()) << error.what();
      EXPECT_TRUE(error.path() == name() || error.path().starts_with("/proc/")) << error.path();
      if (error.path() == name()) {
        EXPECT_NE(std::string(error.what()).find(name()), std::string::npos) << error.what();
      }
      return error.code();
    }
    return {};
  }

  void expect_that_it_works_now() const {
    if (session) {
      ASSERT_TRUE(session->is_held() || session->try_lock()) << "the next try";
    }
    end_sessions();
    named_lock first(name());
    named_lock second(name());
    ASSERT_TRUE(first.try_lock()) << "the next try";
    ASSERT_FALSE(second.try_lock());
  }
};

TEST_P(Fault, AtAnyCallIsAClearErrorOrDoesNotMatter) {
  for (const int error : {EMFILE, ENOMEM, ENOLCK, EINTR, EIO}) {
    bool reached = true;
    for (int fatal = 1; reached; ++fatal) {
      reached = false;
      std::string failed;
      std::error_code ec;
      prepare();
      {
        int calls = 0;
        const seam failing([&](std::string_view call) {
          if (!can_fail(call) || ++calls != fatal) return 0;
          reached = true;
          failed = call;
          return error;
        });
        ec = commit();
      }
      SCOPED_TRACE(std::string(std::strerror(error)) + " at call " + std::to_string(fatal) + ", " +
                   failed);
      EXPECT_TRUE(reached || !ec) << ec.message();
      EXPECT_FALSE(ec && session && session->is_held() && GetParam().name != "Break");
      expect_that_it_works_now();
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Fault, LeaksNothing) {
  // But for fstat: it asks whether a descriptor is still ours, and if nobody can tell it is
  // rather left open than another's closed.
  const auto fail_everywhere = [&] {
    bool reached = true;
    for (int fatal = 1; reached; ++fatal) {
      reached = false;
      prepare();
      int calls = 0;
      const seam failing([&](std::string_view call) {
        if (!can_fail(call) || call == "fstat" || ++calls != fatal) return 0;
        reached = true;
        return ENOMEM;
      });
      (void)commit();
    }
    end_sessions();
  };
  fail_everywhere();  // what is allocated once is allocated now
  const resources before = resources::in_use();
  for (int i = 0; i < 3; ++i) fail_everywhere();
  EXPECT_EQ(resources::in_use(), before);
}

TEST_P(Fault, ThatLastsEndsInAnErrorAndNotInALoop) {
  for (const std::string_view always :
       {"open", "fstat", "lstat", "fstatfs", "fcntl_lock", "fallocate", "fchmod", "fchown",
        "linkat", "unlink", "mmap", "pread", "write"}) {
    SCOPED_TRACE(std::string(always));
    prepare();
    std::error_code ec;
    bool reached = false;
    {
      const shifted_clocks clocks;
      const seam failing([&](std::string_view call) {
        if (call == "clock_gettime") shifted_clocks::steady() += 1'000'000;  // time goes by
        reached = reached || call == always;
        return call == always ? EIO : 0;
      });
      ec = commit();
    }
    EXPECT_TRUE(reached || !ec) << ec.message();
    expect_that_it_works_now();
    if (HasFatalFailure()) return;
  }
}

TEST_P(Fault, OfASignalThatInterruptsDoesNotMatter) {  // EINTR once, at each call that may
  for (const std::string_view interrupted : {"fcntl_lock", "fallocate"}) {
    SCOPED_TRACE(std::string(interrupted));
    prepare();
    bool done = false;
    const seam failing([&](std::string_view call) {
      if (call != interrupted || done) return 0;
      done = true;
      return EINTR;
    });
    EXPECT_FALSE(commit()) << "a signal made it fail";
  }
}

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

INSTANTIATE_TEST_SUITE_P(Deeds, Fault, ::testing::ValuesIn(deeds),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace lockbyfile
