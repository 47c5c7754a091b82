// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile run: what passes through, which process keeps the lock, and what ends the command.
#include <utility>

#include "command/shell.hpp"

namespace {

using RunCommand = Command;

TEST_F(RunCommand, PassesTheExitCodeThrough) {
  EXPECT_EQ(shell("$lockbyfile run x true").code, 0);
  EXPECT_EQ(shell("$lockbyfile run x -- sh -c 'exit 7'").code, 7);
  EXPECT_EQ(shell("$lockbyfile run -c 'exit 9' x").code, 9);
}

TEST_F(RunCommand, GivesA128PlusTheSignalThatKilledTheCommand) {
  EXPECT_EQ(shell("$lockbyfile run x -- sh -c 'kill -TERM $$'").code, 128 + SIGTERM);
}

TEST_F(RunCommand, PassesInputAndOutputThroughUntouched) {
  const auto r = shell("printf 'a\\0b' | $lockbyfile run x cat | od -c | head -1");
  EXPECT_NE(r.out.find("a  \\0   b"), std::string::npos) << r.out;
  EXPECT_EQ(r.err, "");
}

TEST_F(RunCommand, OptionsAfterTheNameAreTheCommands) {
  const auto r = shell("$lockbyfile run -w 3 x echo -n -v --lease");
  EXPECT_EQ(r.out, "-v --lease");
}

TEST_F(RunCommand, TellsTheCommandNameTokenAndFile) {
  const auto r = shell(
      "$lockbyfile run x -- sh -c 'echo $LOCKBYFILE_NAME $LOCKBYFILE_FILE; "
      "echo $LOCKBYFILE_TOKEN; \"$0\" status --json x' $lockbyfile");
  std::istringstream lines(r.out);
  std::string first;
  std::string token;
  std::getline(lines, first);
  std::getline(lines, token);
  EXPECT_EQ(first, "x " + directory_.path() + "/x.lockfile");
  EXPECT_NE(r.out.find("\"token\": " + token + ","), std::string::npos) << r.out;
}

TEST_F(RunCommand, HasAnExitCodeForEachCause) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  EXPECT_EQ(shell("$lockbyfile run -n x true").code, 75);
  EXPECT_EQ(shell("$lockbyfile run -w 50ms x true").code, 75);
  EXPECT_EQ(shell("$lockbyfile run -n -E 3 x true").code, 3);
  EXPECT_EQ(shell("$lockbyfile run").code, 64);
  EXPECT_EQ(shell("$lockbyfile run x").code, 64);
  EXPECT_EQ(shell("$lockbyfile run -w 5x x true").code, 64);
  EXPECT_EQ(shell("$lockbyfile run --lease 0 x true").code, 64);
  EXPECT_EQ(shell("$lockbyfile run '' true").code, 64);
  EXPECT_EQ(shell("$lockbyfile frobnicate").code, 64);
  EXPECT_EQ(shell("$lockbyfile run --help").code, 0);
  EXPECT_EQ(shell("$lockbyfile run y /no/such/command").code, 127);
  EXPECT_EQ(shell("$lockbyfile run y /etc/passwd").code, 126);
  EXPECT_EQ(shell("$lockbyfile run etcd://h/n true").code, 69);
  EXPECT_EQ(shell("mkdir d; $lockbyfile run ./d true").code, 69);
  EXPECT_EQ(shell("$lockbyfile run ./none/n true").code, 73);
}

TEST_F(RunCommand, ErrorsNameThePathAndTheCause) {
  const auto r = shell("echo text >f; $lockbyfile run ./f true");
  EXPECT_EQ(r.code, 69);
  EXPECT_NE(r.err.find(directory_.path() + "/f"), std::string::npos) << r.err;
  EXPECT_EQ(content("f"), "text\n");
}

// TORTURE 48
TEST_F(RunCommand, SaysWhomItWaitsForSinceWhenAndHowManyAreAhead) {
  auto holder = start("exec $lockbyfile run --lease 1h x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const auto r = shell("$lockbyfile run -w 300ms x true");
  EXPECT_EQ(r.code, 75);
  EXPECT_NE(r.err.find("held by sh (pid "), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("since "), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("lease left "), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("nobody ahead"), std::string::npos) << r.err;
  EXPECT_EQ(shell("$lockbyfile run -q -w 200ms x true").err, "");
}

TEST_F(RunCommand, ForwardsSignalsToTheCommand) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    auto running = start(
        "exec $lockbyfile run x -- sh -c 'trap \"exit 5\" INT TERM HUP QUIT USR1 USR2;"
        " echo ready; while :; do sleep 0.02; done'");
    running.expect("ready");
    running.signal(signal);
    EXPECT_EQ(running.wait(), 5) << signal;
  }
}

// The command shares the lifeline.
TEST_F(RunCommand, AKilledRunDoesNotOpenTheLockWhileTheCommandRuns) {
  auto running = start("exec $lockbyfile run x -- sh -c 'echo $$; exec sleep 60'");
  const std::string command = running.hear();
  running.kill();
  EXPECT_EQ(shell("$lockbyfile run -w 200ms x true").code, 75);
  shell("kill -9 " + command);
  EXPECT_EQ(shell("$lockbyfile run -w 10 x true").code, 0);
}

TEST_F(RunCommand, WithNoShareAKilledRunOpensTheLock) {
  auto running = start("exec $lockbyfile run -o x -- sh -c 'echo $$; exec sleep 60'");
  const std::string command = running.hear();
  running.kill();
  EXPECT_EQ(shell("$lockbyfile run -w 10 x true").code, 0);
  shell("kill -9 " + command);
}

TEST_F(RunCommand, ADaemonLeftBehindDoesNotKeepTheLock) {
  const auto r = shell("$lockbyfile run x -- sh -c 'sleep 60 >/dev/null 2>&1 & echo $!'");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(shell("$lockbyfile run -n x true").code, 0);
  EXPECT_EQ(shell("kill " + r.out).code, 0) << "the daemon is alive";
}

TEST_F(RunCommand, ALeaseEndsTheCommandAndItsChildrenBeforeTheLockOpens) {
  const auto r = shell(
      "$lockbyfile run --lease 1s x -- sh -c 'trap \"\" TERM; while :; do date +%s%N >beat; sleep "
      "0.01; done'"
      "; code=$?; $lockbyfile status x | head -1; exit $code");
  EXPECT_EQ(r.code, 76);
  const std::string beat = content("beat");
  ::usleep(100'000);
  EXPECT_EQ(content("beat"), beat) << "something runs on";
  EXPECT_EQ(r.out, "x is free\n");
}

TEST_F(RunCommand, RenewOutlivesTheLease) {
  EXPECT_EQ(shell("$lockbyfile run --lease 200ms --renew x -- sleep 1").code, 0);
}

TEST_F(RunCommand, ABrokenLockEndsTheCommand) {
  auto running = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60' 2>run_err");
  running.expect("held");
  EXPECT_EQ(shell("$lockbyfile break x").code, 0);
  EXPECT_EQ(running.wait(), 76);
  EXPECT_NE(content("run_err").find("broken"), std::string::npos) << content("run_err");
}

TEST_F(RunCommand, ADeletedLockfileEndsTheCommand) {
  auto running = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60' 2>run_err");
  running.expect("held");
  EXPECT_EQ(shell("rm x.lockfile").code, 0);
  EXPECT_EQ(running.wait(), 76);
  EXPECT_NE(content("run_err").find("deleted"), std::string::npos) << content("run_err");
}

TEST_F(RunCommand, TakesTurnsWithAnotherRun) {
  const auto r = shell(
      "for i in 1 2 3 4; do $lockbyfile run x -- sh -c "
      "'n=$(cat n 2>/dev/null || echo 0); sleep 0.05; echo $((n + 1)) >n' & done; wait; cat n");
  EXPECT_EQ(r.out, "4\n");
}

TEST_F(RunCommand, SaysThatTheLeaseRanOutAndNotThatTheLockWasBroken) {
  const auto r = shell(
      "$lockbyfile run --lease 300ms x -- sh -c "
      "'P=$PPID; kill -STOP $P; (sleep 0.6; kill -CONT $P) & exit 0'");
  EXPECT_EQ(r.code, 76);
  EXPECT_NE(r.err.find("its lease ran out"), std::string::npos) << r.err;
  EXPECT_EQ(r.err.find("broken"), std::string::npos) << r.err;
}

TEST_F(RunCommand, TellsAnEmptiedLockfileFromADeletedOne) {
  for (const auto& [misdeed, word] : {std::pair{"truncate -s 0", "emptied"}, {"rm", "deleted"}}) {
    const auto r = shell("$lockbyfile run x -- sh -c 'exec 2>&1; " + std::string(misdeed) +
                         " x.lockfile; sleep 10'");
    EXPECT_EQ(r.code, 76);
    EXPECT_NE(r.err.find(word), std::string::npos) << r.err;
  }
}

TEST_F(RunCommand, RefusesAnEmptyDirectory) {  // of a variable that is not set, most likely
  const auto r = shell("$lockbyfile run --dir \"$nothing\" x true");
  EXPECT_EQ(r.code, 64);
  EXPECT_NE(r.err.find("--dir: is empty"), std::string::npos) << r.err;
}

TEST_F(RunCommand, OnANarrowTerminalTheWaitingLineKeepsItsBeginning) {
  if (shell("script --version").code != 0) GTEST_SKIP() << "there is no script(1)";
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const auto r = shell("script -qc \"stty cols 40; $lockbyfile run -w 400ms x true\" /dev/null");
  const auto begin = r.out.find("waiting for 'x' (");
  ASSERT_NE(begin, std::string::npos) << r.out;
  EXPECT_EQ(r.out.find_first_of("\r\n", begin) - begin, 39U) << "a column less than it has";
}

}  // namespace
