// SPDX-License-Identifier: Apache-2.0
//
// status, list, wait, break, rm and prune.
#include <cstddef>
#include <nlohmann/json.hpp>

#include "command/shell.hpp"
#include "file/layout.hpp"

namespace {

using Verbs = Command;
using nlohmann::json;

TEST_F(Verbs, StatusOfAnUnknownLockIsAMessageAndOne) {
  const auto r = shell("$lockbyfile status x");
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("x.lockfile"), std::string::npos) << r.err;
  EXPECT_EQ(shell("ls").out.find("x.lockfile"), std::string::npos) << "it created one";
}

TEST_F(Verbs, StatusAsJsonIsExact) {
  auto holder =
      start("exec $lockbyfile run --lease 1h x -- sh -c 'echo $LOCKBYFILE_TOKEN; sleep 60'");
  const std::string token = holder.hear();
  const auto status = json::parse(shell("$lockbyfile status --json x").out);
  EXPECT_EQ(status.at("state"), "held");
  EXPECT_EQ(status.at("holder").at("token").dump(), token);
  EXPECT_EQ(status.at("holder").at("command"), "sh");
  EXPECT_EQ(status.at("holder").at("uid"), ::getuid());
  EXPECT_EQ(status.at("holder").at("alive"), true);
  EXPECT_GT(status.at("holder").at("lease_left"), 3500);
  EXPECT_EQ(status.at("grants").at(0).at("token").dump(), token);
  EXPECT_TRUE(status.at("waiters").empty());
}

TEST_F(Verbs, StatusShowsWaitersFirstInLineFirst) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const auto waiting = [&](std::size_t n) {
    until("test $($lockbyfile status --json x | grep -c waiting\\\") = " + std::to_string(n));
  };
  auto first = start("exec $lockbyfile run -q x -- true 1");
  waiting(1);
  auto second = start("exec $lockbyfile run -q x -- cat");
  waiting(2);
  const auto status = json::parse(shell("$lockbyfile status --json x").out);
  EXPECT_EQ(status.at("waiters").at(0).at("command"), "true");
  EXPECT_EQ(status.at("waiters").at(1).at("command"), "cat");
}

TEST_F(Verbs, ListShowsLockfilesAndPassesOverOtherFiles) {
  shell(
      "$lockbyfile run a true; $lockbyfile run ./b true; echo text >c.lockfile; mkdir d.lockfile");
  const auto r = json::parse(shell("$lockbyfile list --json").out);
  ASSERT_EQ(r.size(), 2U);
  EXPECT_EQ(r.at(0).at("name"), "a");
  EXPECT_EQ(r.at(0).at("state"), "free");
}

TEST_F(Verbs, WaitTakesNothingAndEndsWhenTheLockIsFree) {
  EXPECT_EQ(shell("$lockbyfile wait x").code, 0);
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo $LOCKBYFILE_TOKEN; sleep 60'");
  const std::string token = holder.hear();
  EXPECT_EQ(shell("$lockbyfile wait -q -w 50ms x").code, 75);
  auto waiter = start("$lockbyfile wait -q x; echo over");
  EXPECT_EQ(shell("$lockbyfile break x --token " + token).code, 0);
  waiter.expect("over");
}

TEST_F(Verbs, BreakNeedsTheRightToken) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo $LOCKBYFILE_TOKEN; sleep 60'");
  const std::string token = holder.hear();
  EXPECT_NE(shell("$lockbyfile break x --token 1").code, 0);
  EXPECT_EQ(shell("$lockbyfile run -n x true").code, 75);
  EXPECT_EQ(shell("$lockbyfile break x --token " + token).code, 0);
  EXPECT_EQ(shell("$lockbyfile run -n x true").code, 0);
  EXPECT_EQ(holder.wait(), 76);
}

TEST_F(Verbs, SayWhichWholeNumbersTheyTake) {
  for (const char* bad : {"abc", "0", "-1", "1.5", "4503599627370496", "''"}) {
    const auto r = shell(std::string("$lockbyfile break x --token ") + bad);
    EXPECT_EQ(r.code, 64) << bad;
    EXPECT_NE(r.err.find("is no whole number from 1 to 4503599627370495"), std::string::npos)
        << r.err;
  }
  const auto r = shell("$lockbyfile run -E 256 x true");
  EXPECT_EQ(r.code, 64);
  EXPECT_NE(r.err.find("is no whole number from 0 to 255"), std::string::npos) << r.err;
  EXPECT_EQ(shell("$lockbyfile run -E 7 x -- $lockbyfile run -E 9 -n x true").code, 9);
}

TEST_F(Verbs, AnEmptyValueIsRefusedAndTheNextArgumentNotTakenForIt) {
  shell("mkdir nightly; $lockbyfile run job true");
  for (const char* wrong : {"status --dir= nightly job", "rm --dir= nightly job", "rm --dir '' job",
                            "break --token= 5 job", "run --lease= job true",
                            "run --dir= job -- true", "list ''", "prune ''"}) {
    const auto r = shell(std::string("$lockbyfile ") + wrong);
    EXPECT_EQ(r.code, 64) << wrong;
    EXPECT_NE(r.err.find("is empty"), std::string::npos) << wrong << ": " << r.err;
  }
  EXPECT_EQ(shell("$lockbyfile run job -- echo --dir=").out, "--dir=\n") << "it is the command's";
  EXPECT_EQ(shell("test -e job.lockfile").code, 0);
}

TEST_F(Verbs, AWordThatIsNoneIsNamed) {
  for (const char* wrong : {"--foo", "-v", "foo", "demo foo"}) {
    const auto r = shell(std::string("$lockbyfile ") + wrong);
    EXPECT_EQ(r.code, 64) << wrong;
    const std::string word = std::string(wrong).substr(std::string(wrong).rfind(' ') + 1);
    EXPECT_NE(r.err.find('\'' + word + '\''), std::string::npos) << r.err;
  }
}

TEST_F(Verbs, LeaveAnEmptyFileToItsOwner) {
  shell(": >x.lockfile; : >notes.txt");
  for (const char* deed : {"status x", "break x", "status ./notes.txt", "rm ./notes.txt"}) {
    const auto r = shell(std::string("$lockbyfile ") + deed);
    EXPECT_EQ(r.code, 1) << deed;
    EXPECT_NE(r.err.find("nobody has ever used"), std::string::npos) << deed << ": " << r.err;
  }
  EXPECT_EQ(shell("test -e x.lockfile && test -e notes.txt").code, 0);
}

TEST_F(Verbs, ListGivesThePathOfALockThatItCannotReadInFull) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  shell(R"(printf '\377\377\377\377\377\377\377\377' | dd of=x.lockfile bs=1 conv=notrunc seek=)" +
        std::to_string(offsetof(lockbyfile::file::header, word)));
  const auto r = json::parse(shell("$lockbyfile list --json .").out);
  EXPECT_EQ(r.at(0).at("state"), "unreadable");
  EXPECT_TRUE(r.at(0).at("path").get<std::string>().ends_with("/x.lockfile"));
  EXPECT_TRUE(r.at(0).at("path").get<std::string>().starts_with("/"));
}

TEST_F(Verbs, RmRefusesAHeldLockAndRemovesAFreeOne) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  EXPECT_NE(shell("$lockbyfile rm x").code, 0);
  holder.signal(SIGTERM);
  until("$lockbyfile rm x");
  EXPECT_EQ(shell("test -e x.lockfile").code, 1);
}

TEST_F(Verbs, PruneRemovesWhatNobodyHasOpen) {
  shell("$lockbyfile run a true; $lockbyfile run b true; echo text >c.lockfile");
  auto holder = start("exec $lockbyfile run used -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  EXPECT_EQ(shell("$lockbyfile prune").code, 0);
  EXPECT_EQ(shell("ls *.lockfile").out, "c.lockfile\nused.lockfile\n");
}

TEST_F(Verbs, EveryVerbHasHelp) {
  for (const char* verb : {"run", "status", "list", "wait", "break", "rm", "prune", "demo"}) {
    const auto r = shell(std::string("$lockbyfile ") + verb + " --help");
    EXPECT_EQ(r.code, 0) << verb;
    EXPECT_NE(r.out.find("--help"), std::string::npos) << verb;
  }
}

}  // namespace
