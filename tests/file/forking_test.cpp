// SPDX-License-Identifier: Apache-2.0
//
// A call of the system may hang: on a frozen filesystem (fsfreeze), or on a disk that does not
// answer. The other threads of the process fork all the same, and their children have no share in
// a lock.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <string_view>
#include <thread>

#include "file/fault_deeds.hpp"
#include "support/child.hpp"
#include "support/lock_test.hpp"
#include "support/sanitizers.hpp"
#include "support/seam.hpp"

namespace lockbyfile {
namespace {

using faults::deed;

class ForkBesideACallThatHangs : public LockTest,
                                 public ::testing::WithParamInterface<std::string_view> {
 protected:
  enum class reached : int { nothing, the_call, the_end };

  /// Runs the operation in a thread that hangs in the `fatal`th call of this test. `meanwhile` runs
  /// during that. False if there are fewer calls.
  template <class Meanwhile>
  bool commit_and_hang(const deed& d, unsigned fatal, Meanwhile meanwhile) const {
    std::atomic<reached> at{reached::nothing};
    std::atomic<bool> goes_on{false};
    bool was_there = false;
    std::thread worker([&] {
      faults::clocks.emplace();
      d.prepare(name());
      const auto self = std::this_thread::get_id();
      unsigned calls = 0;
      {
        const seam hanging([&](std::string_view call) {
          if (call != GetParam() || std::this_thread::get_id() != self || ++calls != fatal)
            return 0;
          at = reached::the_call;
          at.notify_one();
          goes_on.wait(false);
          return 0;
        });
        d.commit(name());
      }
      was_there = calls >= fatal;
      faults::end_sessions();
      at = reached::the_end;
      at.notify_one();
    });
    at.wait(reached::nothing);
    if (at == reached::the_call) meanwhile();
    goes_on = true;
    goes_on.notify_one();
    worker.join();
    std::filesystem::remove(name());
    std::filesystem::remove(name() + ".tokens");
    return was_there;
  }

  /// Whether a fork comes back within a minute. It does later, when the call goes on.
  static bool can_fork(std::thread& forking, std::atomic<bool>& has_forked) {
    forking = std::thread([&has_forked] {
      const pid_t pid = ::fork();
      if (pid == 0) ::_exit(0);
      ::waitpid(pid, nullptr, 0);
      has_forked = true;
    });
    return eventually([&] { return has_forked.load(); });
  }
};

TEST_P(ForkBesideACallThatHangs, GoesOn) {
  if (under_thread_sanitizer) GTEST_SKIP() << "it does not fork beside other threads";
  unsigned hung = 0;
  for (const deed& d : faults::all) {
    bool is_more = true;
    for (unsigned fatal = 1; is_more; ++fatal) {
      SCOPED_TRACE(d.name + ", call " + std::to_string(fatal));
      std::thread forking;
      std::atomic<bool> has_forked{false};
      bool is_forked = true;
      is_more = commit_and_hang(d, fatal, [&] { is_forked = can_fork(forking, has_forked); });
      if (forking.joinable()) forking.join();
      ASSERT_TRUE(is_forked);
      hung += is_more ? 1 : 0;
    }
  }
  EXPECT_GT(hung, 0U) << "no deed makes this call";
}

INSTANTIATE_TEST_SUITE_P(Of, ForkBesideACallThatHangs,
                         ::testing::Values("open", "close", "lstat", "pread", "write", "fallocate",
                                           "fchmod", "fchown", "linkat", "unlink"),
                         [](const auto& p) { return std::string(p.param); });

}  // namespace
}  // namespace lockbyfile
