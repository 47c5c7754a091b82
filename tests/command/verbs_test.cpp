// SPDX-License-Identifier: Apache-2.0
//
// status, list, wait, break, rm and prune. (stop_test.cpp, held_test.cpp)
#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

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

TEST_F(Verbs, StatusShowsWhoKeepsTheLockOnceRunWasKilled) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; exec sleep 60'");
  holder.expect("held");
  const auto before = json::parse(shell("$lockbyfile status --json x").out).at("holder");
  EXPECT_EQ(before.at("processes").size(), 2U) << "run, and its command";
  shell("kill -9 " + before.at("pid").dump());
  (void)holder.wait();
  const auto after = json::parse(shell("$lockbyfile status --json x").out).at("holder");
  ASSERT_EQ(after.at("processes").size(), 1U);
  const json& process = after.at("processes").at(0);
  EXPECT_EQ(process.at("command_line"), json::array({"sleep", "60"}));
  EXPECT_EQ(process.at("uid"), ::getuid());
  EXPECT_GE(process.at("age"), 0);
  const auto text = shell("$lockbyfile status x").out;
  EXPECT_NE(text.find(": sleep 60\n"), std::string::npos) << text;
  EXPECT_NE(text.find("has ended"), std::string::npos) << text;
  EXPECT_EQ(shell("$lockbyfile stop -q x").code, 0);
}

TEST_F(Verbs, StatusDoesNotTakeWhoWaitsForWhoHolds) {
  auto holder = start("exec $lockbyfile run -o x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  auto waiter = start("exec $lockbyfile run -q x true");
  until("test $($lockbyfile status --json x | grep -c '\"waiting\":') = 1");
  const auto status = json::parse(shell("$lockbyfile status --json x").out);
  EXPECT_EQ(status.at("holder").at("processes").size(), 1U);
}

TEST_F(Verbs, StatusQuietIsZeroOpenSeventyFiveHeldAndOneForNone) {
  const auto quiet = [this] {
    const auto r = shell("$lockbyfile status -q x");
    EXPECT_EQ(r.out + r.err, "");
    return r.code;
  };
  EXPECT_EQ(quiet(), 1);
  shell("$lockbyfile run x true");
  EXPECT_EQ(quiet(), 0);
  auto holder = start("exec $lockbyfile run -o x -- sh -c 'echo $$; exec sleep 60'");
  const std::string command = holder.hear();
  EXPECT_EQ(quiet(), 75);
  holder.kill();
  shell("kill " + command);
  until("$lockbyfile status -q x");
  EXPECT_EQ(shell("$lockbyfile status -q --json x").code, 64);
}

TEST_F(Verbs, WaitNoWaitLooksOnce) {
  EXPECT_EQ(shell("$lockbyfile wait -n x").code, 0);
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  EXPECT_EQ(shell("$lockbyfile wait -n x").code, 75);
  EXPECT_EQ(shell("$lockbyfile wait -qn x").err, "");
}

TEST_F(Verbs, ListAndPruneTakeTheDirectoryAsTheOthersDo) {
  shell("mkdir d; $lockbyfile run --dir d a true; $lockbyfile run --dir d b true");
  EXPECT_EQ(shell("$lockbyfile list --dir d").out, shell("$lockbyfile list d").out);
  EXPECT_EQ(shell("$lockbyfile list --dir d d").code, 64);
  const auto would = shell("$lockbyfile prune --dir d --dry-run").out;
  EXPECT_EQ(would, "d/a.lockfile\nd/b.lockfile\n");
  EXPECT_EQ(shell("ls d").out, "a.lockfile\nb.lockfile\n") << "it removed some";
  EXPECT_EQ(shell("$lockbyfile prune --dir d").out, would);
  EXPECT_EQ(shell("ls d").out, "");
}

TEST_F(Verbs, PruneDryRunPassesOverWhatSomebodyHasOpen) {
  auto holder = start("exec $lockbyfile run used -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  shell("$lockbyfile run idle true; : >empty");
  EXPECT_EQ(shell("$lockbyfile prune --dry-run").out, "./idle.lockfile\n");
}

TEST_F(Verbs, RmAndBreakSayWhatTheyDid) {
  auto holder = start("exec $lockbyfile run -q x -- sh -c 'echo $LOCKBYFILE_TOKEN; sleep 60'");
  const std::string token = holder.hear();
  const auto broken = shell("$lockbyfile break x").out;
  EXPECT_NE(broken.find("broke 'x': it was held by sh (pid"), std::string::npos) << broken;
  EXPECT_NE(broken.find("token " + token), std::string::npos) << broken;
  (void)holder.wait();
  const auto removed = shell("$lockbyfile rm x").out;
  EXPECT_TRUE(removed.starts_with("removed /") && removed.ends_with("/x.lockfile\n")) << removed;
  EXPECT_EQ(shell("$lockbyfile run x true; $lockbyfile rm -q x").out, "");
}

TEST_F(Verbs, AWrongVerbIsTakenForTheOneThatWasMeant) {
  for (const auto& [typed, meant] : {std::pair{"stauts", "status"},
                                     {"lst", "list"},
                                     {"rnu", "run"},
                                     {"sto", "stop"},
                                     {"hold", "held"},
                                     {"remove", ""},
                                     {"x", ""}}) {
    const auto r = shell(std::string("$lockbyfile ") + typed);
    EXPECT_EQ(r.code, 64);
    const auto hint = r.err.find("did you mean ");
    EXPECT_EQ(hint != std::string::npos, *meant != '\0') << r.err;
    EXPECT_NE(r.err.find(*meant == '\0' ? "no verb" : std::string("mean ") + meant + "?"),
              std::string::npos)
        << r.err;
  }
}

TEST_F(Verbs, ListPadsByColumnsOfTheTerminal) {
  // Two columns each, three bytes; none, two bytes; one, two bytes.
  shell(
      "for n in \xe6\xbc\xa2\xe5\xad\x97 e\xcc\x81 \xc3\xa9 abcd; do $lockbyfile run $n true; "
      "done");
  const auto out = shell("$lockbyfile list").out;
  EXPECT_NE(out.find("abcd  free\n"), std::string::npos) << out;
  EXPECT_NE(out.find("\xe6\xbc\xa2\xe5\xad\x97  free\n"), std::string::npos) << out;
  EXPECT_NE(out.find("e\xcc\x81     free\n"), std::string::npos) << out;
  EXPECT_NE(out.find("\xc3\xa9     free\n"), std::string::npos) << out;
}

TEST_F(Verbs, ListsHelpHasItsOwnExitCodes) {
  for (const char* verb : {"list", "prune"}) {
    const auto help = shell(std::string("$lockbyfile ") + verb + " --help").out;
    EXPECT_EQ(help.find("(run"), std::string::npos) << help;
    EXPECT_NE(help.find("Exit codes:"), std::string::npos) << help;
  }
}

TEST_F(Verbs, SinceInJsonIsTheSameFromCallToCall) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const auto since = [this] {
    return json::parse(shell("$lockbyfile status --json x").out).at("holder").at("since").dump();
  };
  // A clock that is being slewed may step over a hundredth once, not from call to call.
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) seen.insert(since());
  EXPECT_LE(seen.size(), 2U);
}

TEST_F(Verbs, APathThatIsNoUtf8IsNotLostInJson) {
  shell("name=$(printf 'a\\377b'); $lockbyfile run $name true; ls | od -An -tx1 >bytes");
  const auto lock = json::parse(shell("$lockbyfile list --json").out).at(0);
  const std::string encoded = lock.at("path_base64");
  EXPECT_EQ(shell("test -e \"$(echo " + encoded + " | base64 -d)\"").code, 0);
  shell("$lockbyfile run plain true");
  EXPECT_TRUE(
      json::parse(shell("$lockbyfile status --json plain").out).at("path_base64").is_null());
}

TEST_F(Verbs, StatusSaysWhenALockHasATwin) {
  shell("mkdir d; $lockbyfile run x true; $lockbyfile run --dir d x true");
  const auto r = shell("$lockbyfile status --dir d x").out;
  EXPECT_NE(r.find("another lock of a like name: "), std::string::npos) << r;
  EXPECT_NE(r.find("  file      "), std::string::npos) << r;
  EXPECT_EQ(json::parse(shell("$lockbyfile status --json x").out).at("twins"), json::array());
  shell("cp x.lockfile x.lockfile.lockfile");
  const auto run = shell("$lockbyfile run -v x true").err;
  EXPECT_NE(run.find("/x.lockfile.lockfile"), std::string::npos) << run;
  const auto twins = json::parse(shell("$lockbyfile status --json x").out).at("twins");
  ASSERT_EQ(twins.size(), 1U);
  EXPECT_TRUE(twins.at(0).get<std::string>().ends_with("/x.lockfile.lockfile"));
  shell("rm x.lockfile.lockfile; echo text >x.lockfile.lockfile");
  EXPECT_EQ(shell("$lockbyfile status x").out.find("beware"), std::string::npos);
}

TEST_F(Verbs, StatusShowsTheLastBreakAndHowTheLastRunEnded) {
  shell("$lockbyfile run x -- sh -c 'exit 7'");
  auto status = json::parse(shell("$lockbyfile status --json x").out);
  EXPECT_EQ(status.at("last_run").at("exit_code"), 7);
  EXPECT_GE(status.at("last_run").at("duration"), 0);
  EXPECT_EQ(status.at("last_run").at("token"), status.at("grants").at(0).at("token"));
  EXPECT_TRUE(status.at("last_break").is_null());
  EXPECT_NE(shell("$lockbyfile status x").out.find("exit code 7"), std::string::npos);

  auto holder = start("exec $lockbyfile run -q x -- sh -c 'echo $LOCKBYFILE_TOKEN; sleep 60'");
  const std::string token = holder.hear();
  shell("$lockbyfile break -q x");
  status = json::parse(shell("$lockbyfile status --json x").out);
  EXPECT_EQ(status.at("last_break").at("token").dump(), token);
  EXPECT_EQ(status.at("last_break").at("by").at("uid"), ::getuid());
  EXPECT_NE(shell("$lockbyfile status x").out.find("  broken    last by "), std::string::npos);
}

TEST_F(Verbs, EveryVerbHasHelp) {
  for (const char* verb :
       {"run", "status", "list", "wait", "held", "stop", "break", "rm", "prune", "demo"}) {
    const auto r = shell(std::string("$lockbyfile ") + verb + " --help");
    EXPECT_EQ(r.code, 0) << verb;
    EXPECT_NE(r.out.find("--help"), std::string::npos) << verb;
  }
}

}  // namespace
