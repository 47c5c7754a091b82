// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile held, and run --once, which rests on it.
#include <chrono>
#include <lockbyfile/named_lock.hpp>
#include <string>

#include "command/shell.hpp"

namespace {

using Held = Command;

TEST_F(Held, IsZeroForTheCommandOfRunAndOneWithoutAGrant) {
  EXPECT_EQ(shell("$lockbyfile held; echo $?").out, "1\n");
  EXPECT_EQ(shell("$lockbyfile held job; echo $?").out, "1\n");
  EXPECT_EQ(shell("$lockbyfile run job -- sh -c '$0 held && $0 held job && $0 held ./job.lockfile' "
                  "$lockbyfile")
                .code,
            0);
  EXPECT_EQ(shell("$lockbyfile run job -- $lockbyfile held other").code, 1);
}

TEST_F(Held, IsOneForAChildThatOutlivedItsRun) {
  shell(
      "$lockbyfile run job -- sh -c '(until test -e go; do sleep 0.01; done; $0 held job; echo $? "
      ">code; $0 run -n --once job -- sh -c \"env >env\"; : >done) >/dev/null 2>&1 &' $lockbyfile");
  auto next = start("exec $lockbyfile run job -- sh -c 'echo $LOCKBYFILE_TOKEN; sleep 60'");
  (void)next.hear();
  shell(": >go");
  until("test -e done");
  EXPECT_EQ(content("code"), "1\n") << "the lock is another's";
  EXPECT_EQ(shell("test -e env").code, 1) << "it ran without the lock";
}

TEST_F(Held, IsOneForTheSameNameInAnotherDirectory) {
  shell("mkdir other");
  EXPECT_EQ(shell("$lockbyfile run job -- $lockbyfile held --dir other job").code, 1);
  EXPECT_EQ(shell("$lockbyfile run job -- sh -c 'cd other; $0 held job' $lockbyfile").code, 1);
  EXPECT_EQ(shell("$lockbyfile run job -- sh -c 'cd other; $0 held --dir .. job' $lockbyfile").code,
            0);
  const auto r = shell(
      "$lockbyfile run job -- $lockbyfile run --once --dir other job printenv "
      "LOCKBYFILE_FILE");
  EXPECT_TRUE(r.out.ends_with("/other/job.lockfile\n")) << r.out;
}

TEST_F(Held, IsOneOnceTheGrantWasBrokenOrItsFileDeleted) {
  EXPECT_EQ(shell("$lockbyfile run -q job -- sh -c 'trap \"\" TERM; $0 break -q job; $0 held job; "
                  "echo $?' $lockbyfile")
                .out,
            "1\n");
  EXPECT_EQ(shell("$lockbyfile run -q job -- sh -c 'trap \"\" TERM; rm job.lockfile; $0 held job; "
                  "echo $?' $lockbyfile")
                .out,
            "1\n");
}

TEST_F(Held, IsOneOnceTheLeaseHasEnded) {  // as if a program had set the variables itself
  child holder([this](talk& t) {
    lockbyfile::named_lock lock(directory_.path() + "/x.lockfile",
                                {.lease = std::chrono::milliseconds(1)});
    lock.lock();
    while (lock.is_held()) {
    }
    t.say(std::to_string(lock.token().value()));
    (void)t.hear();
  });
  const std::string grant = "LOCKBYFILE_TOKEN=" + holder.hear() + " LOCKBYFILE_FILE=$PWD/";
  EXPECT_EQ(shell(grant + "x.lockfile $lockbyfile held").code, 1);
}

TEST_F(Held, IsZeroForTheSameFileByAPathThatNoLinkTells) {
  if (shell("unshare --mount true").code != 0) GTEST_SKIP() << "nothing can be mounted here";
  const auto r = shell(
      "mkdir d e; unshare --mount sh -c 'mount --bind d e && cd d && $0 run x -- sh -c \"$0 held "
      "--dir ../e x && $0 run -n --once --dir ../e x echo once\"' $lockbyfile");
  EXPECT_EQ(r.out, "once\n") << r.err;
}

TEST_F(Held, KnowsTheGrantsOfRunsWithinRuns) {
  EXPECT_EQ(shell("$lockbyfile run a -- $lockbyfile run b -- sh -c '$0 held a && $0 held b && $0 "
                  "run -n --once a -- echo under' $lockbyfile")
                .out,
            "under\n");
}

TEST_F(Held, KnowsGrantsWhosePathHasANewlineOrABackslash) {
  for (const std::string name : {"two\nlines", "back\\nslash", "end\\", "a b"}) {
    const std::string lock = "lock='" + name + "'; export lock; ";
    EXPECT_EQ(shell(lock + "$lockbyfile run \"$lock\" -- sh -c '$0 held && $0 held \"$lock\"' "
                           "$lockbyfile")
                  .code,
              0)
        << name;
    EXPECT_EQ(shell(lock + "$lockbyfile run \"$lock\" -- $lockbyfile run inner -- sh -c '$0 run -n "
                           "--once \"$lock\" -- echo under' $lockbyfile")
                  .out,
              "under\n")
        << name;
    const auto within = shell(lock +
                              "$lockbyfile run \"$lock\" -- $lockbyfile run inner -- timeout 60 "
                              "$lockbyfile run \"$lock\" -- echo never");
    EXPECT_EQ(within.code, 75) << name << ": " << within.err;
    EXPECT_EQ(within.out, "") << name;
  }
}

TEST_F(Held, IsNoOneWhereItCannotBeTold) {
  const auto token = "env LOCKBYFILE_TOKEN=5 LOCKBYFILE_FILE=$PWD/";
  shell("echo text >foreign.lockfile");
  EXPECT_EQ(shell(std::string(token) + "foreign.lockfile $lockbyfile held").code, 69);
  EXPECT_EQ(shell(std::string(token) + "x.lockfile $lockbyfile held --dir nowhere x").code, 73);
  EXPECT_EQ(shell(std::string(token) + "none.lockfile $lockbyfile held").code, 1);
  EXPECT_EQ(
      shell("env LOCKBYFILE_TOKEN=word LOCKBYFILE_FILE=$PWD/foreign.lockfile $lockbyfile held")
          .code,
      1)
      << "that is no grant";
}

TEST_F(Held, AScriptThatLocksItselfRunsOnceAtATimeAndNotWithoutTheLock) {
  shell(
      "printf '#!/bin/sh\\n%s held job || exec %s run -n job -- \"$0\" \"$@\"\\necho \"working "
      "$1\"\\n' $lockbyfile $lockbyfile >script; chmod +x script");
  EXPECT_EQ(shell("./script 1").out, "working 1\n");
  EXPECT_EQ(shell("LOCKBYFILE_NAME=job ./script 2").out, "working 2\n");
  EXPECT_EQ(shell("$lockbyfile run job -- ./script 3").out, "working 3\n");
  auto holder = start("exec $lockbyfile run job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  EXPECT_EQ(shell("LOCKBYFILE_NAME=job ./script 4").code, 75);
}

TEST_F(Held, RunOnceTakesTheLockWhereItIsNotHeldYet) {
  const auto r = shell(
      "$lockbyfile run --once job -- $lockbyfile run --once job -- $lockbyfile "
      "held job; echo $?");
  EXPECT_EQ(r.out, "0\n") << r.err;
  EXPECT_EQ(shell("$lockbyfile run job -- $lockbyfile run --once job -- ./none").code, 127);
}

}  // namespace
