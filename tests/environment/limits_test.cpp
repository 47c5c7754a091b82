// SPDX-License-Identifier: Apache-2.0
//
// The command where the machine gives little: few descriptors, no room, a disk that may
// only be read. TORTURE 18, 19. (The library: Sessions.WithoutADescriptor..., FullDisk,
// Permission.)
#include "command/shell.hpp"
#include "support/in_child.hpp"
#include "support/sanitizers.hpp"

namespace {

class CommandWithLittle : public Command {
 protected:
  /// Runs the text in a shell of which directory_ is a tmpfs with `options`.
  [[nodiscard]] shell_result in_small_tmpfs(const std::string& before, const std::string& text) {
    return shell("unshare --mount sh -c 'mount -t tmpfs -o size=64k none . && cd " +
                 directory_.path() + " && " + before + " && " + text + "' sh $lockbyfile");
  }
};

TEST_F(CommandWithLittle, DescriptorsRunsOrSaysThatTheyRanOut) {
  int failed = 0;
  int worked = 0;
  for (int limit = 3; limit <= 16; ++limit) {
    const auto r = shell("ulimit -n " + std::to_string(limit) +
                         "; exec $lockbyfile run x -- sh -c 'echo ran'");
    SCOPED_TRACE("ulimit -n " + std::to_string(limit) + ": " + r.err);
    if (r.out == "ran\n") {
      ++worked;
      EXPECT_EQ(r.code, 0);
    } else if (r.code != 127) {  // the loader could not open the libraries
      ++failed;
      EXPECT_TRUE(r.code == 73 || r.code == 69 || r.code == 71 || r.code == 126) << r.code;
      EXPECT_NE(r.err.find("Too many open files"), std::string::npos) << r.err;
    }
    EXPECT_EQ(shell("$lockbyfile run -n x true").code, 0) << "held, or broken";
  }
  EXPECT_GT(failed, 0) << "no test at all";
  EXPECT_GT(worked, 0);
}

// One process, without a thread beside it, of a user that has no other.
TEST_F(CommandWithLittle, ProcessesSaysThatItCannotStartTheCommandNorWait) {
  if (::geteuid() != 0) GTEST_SKIP() << "root alone can be another user";
  if (under_sanitizer) GTEST_SKIP() << "a sanitizer may have a thread of its own";
  shell("chmod 777 .");
  const std::string alone = "prlimit --nproc=1 setpriv --reuid 54321 --regid 54321 --clear-groups ";
  const auto started = shell(alone + "$lockbyfile run mine -- echo ran");
  EXPECT_EQ(started.out, "");
  EXPECT_EQ(started.code, 70);
  EXPECT_EQ(started.err, "lockbyfile: cannot start 'echo': Resource temporarily unavailable\n");

  auto holder = start("exec $lockbyfile run --mode 666 x -- sh -c 'echo held; exec sleep 60'");
  holder.expect("held");
  const auto tried = shell(alone + "$lockbyfile run -n x -- echo ran");
  EXPECT_EQ(tried.code, 75);
  EXPECT_EQ(tried.err, "lockbyfile: could not get 'x', did not wait\n");
  const auto waited = shell(alone + "$lockbyfile run -w 60 x -- echo ran");
  EXPECT_EQ(waited.code, 70);
  EXPECT_NE(waited.err.find("cannot start a thread"), std::string::npos) << waited.err;
  EXPECT_EQ(shell(alone + "$lockbyfile run").err.substr(0, 30), "lockbyfile: NAME is required\nl");
}

TEST_F(CommandWithLittle, RoomNamesThePathAndTheCause) {
  if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
  const auto r =
      in_small_tmpfs("{ cat /dev/zero >filler 2>/dev/null || true; }", "exec $1 run x -- echo ran");
  EXPECT_EQ(r.out, "");
  EXPECT_EQ(r.code, 73) << r.err;
  EXPECT_NE(r.err.find(directory_.path() + "/x.lockfile"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("No space left"), std::string::npos) << r.err;
}

TEST_F(CommandWithLittle, PermissionToWriteNamesThePathAndTheCause) {
  if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
  const auto r = in_small_tmpfs("$1 run old true && mount -o remount,ro .",
                                "$1 status old | head -1 && exec $1 run x -- echo ran");
  EXPECT_EQ(r.out, "old is free\n");
  EXPECT_EQ(r.code, 73) << r.err;
  EXPECT_NE(r.err.find(directory_.path() + "/x.lockfile"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("Read-only file system"), std::string::npos) << r.err;
}

}  // namespace
