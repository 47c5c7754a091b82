// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile stop.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <lockbyfile/named_lock.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "command/shell.hpp"
#include "support/child.hpp"

namespace {

using nlohmann::json;

class Stop : public Command {
 protected:
  [[nodiscard]] json status(const std::string& name) const {
    return json::parse(shell("$lockbyfile status --json " + name).out);
  }

  /// The pid of the process whose command line has `text` in it, of those that keep `name` alive.
  [[nodiscard]] std::string pid_of(const std::string& name, const std::string& text) const {
    for (const json& process : status(name).at("holder").at("processes")) {
      if (process.at("command_line").dump().find(text) != std::string::npos) {
        return process.at("pid").dump();
      }
    }
    return "";
  }

  [[nodiscard]] lockbyfile::lock_options here() const {
    lockbyfile::lock_options options;
    options.directory = directory_.path();
    return options;
  }
};

TEST_F(Stop, EndsTheCommandOfRunAndReturnsWhenTheGrantIsOver) {
  auto holder = start("exec $lockbyfile run job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const auto r = shell("$lockbyfile stop job && $lockbyfile run -n job echo mine");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("mine"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("stopped 'job'"), std::string::npos) << r.out;
  EXPECT_EQ(holder.wait(), 143);
}

TEST_F(Stop, LetsTheCommandEndInItsOwnWay) {
  auto holder = start(
      "exec $lockbyfile run job -- sh -c 'trap \"echo tidy; exit 3\" TERM; echo held; "
      "while :; do sleep 0.01; done'");
  holder.expect("held");
  EXPECT_EQ(shell("$lockbyfile stop -q job").code, 0);
  holder.expect("tidy");
  EXPECT_EQ(holder.wait(), 3);
  EXPECT_TRUE(status("job").at("last_break").is_null()) << "it was broken";
}

TEST_F(Stop, KillsACommandThatIgnoresTheRequestAndAllThatItStarted) {
  auto holder = start(
      "exec $lockbyfile run -o job -- sh -c 'trap \"\" TERM; (exec 9>&-; echo $$; sleep 60; echo "
      "late) & echo held; wait; sleep 60; echo late'");
  const std::string first = holder.hear();
  const std::string second = holder.hear();
  EXPECT_TRUE(first == "held" || second == "held");
  EXPECT_EQ(shell("$lockbyfile stop -q --kill-after 100ms job").code, 0);
  EXPECT_EQ(holder.wait(), 137);
  EXPECT_THROW(holder.hear(), gone) << "something of it runs on without the lock";
}

// Like `run` itself: what a shell has started before it became `run` is no part of the command.
TEST_F(Stop, SparesWhatAShellStartedBeforeItBecameRun) {
  // The environment of the second command does not show which grant it has.
  for (const char* command : {"sh -c", "env -i /bin/sh -c"}) {
    auto holder =
        start(std::string("sleep 60 & echo $!; sleep 0.1; exec $lockbyfile run -o job -- ") +
              command + " 'trap \"\" TERM; sleep 60 & echo held; wait; sleep 60'");
    const std::string before = holder.hear();
    holder.expect("held");
    EXPECT_EQ(shell("$lockbyfile stop -q --kill-after 100ms job").code, 0);
    EXPECT_EQ(holder.wait(), 137);
    EXPECT_EQ(shell("grep -q '^State:.S' /proc/" + before + "/status").code, 0) << command;
    shell("kill -KILL " + before);
  }
}

TEST_F(Stop, EndsTheCommandThatOutlivedItsRun) {
  auto holder = start("exec $lockbyfile run job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const std::string run = status("job").at("holder").at("pid").dump();
  shell("kill -9 " + run);
  (void)holder.wait();
  ASSERT_EQ(shell("$lockbyfile run -n job true").code, 75) << "the command keeps the lock";
  EXPECT_EQ(shell("$lockbyfile stop -q job").code, 0);
  EXPECT_EQ(shell("$lockbyfile run -n job true").code, 0);
}

TEST_F(Stop, EndsAProgramThatHoldsTheLock) {
  child holder([this](talk& t) {
    lockbyfile::named_lock lock("job", here());
    lock.lock();
    t.say("held");
    (void)t.hear();
  });
  holder.expect("held");
  EXPECT_EQ(shell("$lockbyfile stop -q job").code, 0);
  EXPECT_EQ(shell("$lockbyfile run -n job true").code, 0);
}

TEST_F(Stop, AHolderWhoseFirstThreadHasEndedIsShownAsItLivesAndEnds) {
  child holder([this](talk& t) {
    lockbyfile::named_lock lock("job", here());
    lock.lock();
    std::thread([] { ::pause(); }).detach();
    t.say(std::to_string(::getpid()));
    ::syscall(SYS_exit, 0);  // of this thread alone
  });
  const std::string pid = holder.hear();
  until("grep -q '^State:.Z' /proc/" + pid + "/status");
  const json processes = status("job").at("holder").at("processes");
  ASSERT_EQ(processes.size(), 1U);
  EXPECT_EQ(processes[0].at("state"), "S");
  EXPECT_FALSE(processes[0].at("command_line").empty());
  EXPECT_EQ(shell("$lockbyfile stop -q job").code, 0);
}

TEST_F(Stop, WakesAStoppedHolderSoThatItCanEnd) {
  auto holder = start("exec $lockbyfile run -o job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  holder.signal(SIGSTOP);
  EXPECT_EQ(shell("$lockbyfile stop -q --kill-after 60s job").code, 0);
}

TEST_F(Stop, LeavesTheNextHolderAlone) {
  auto holder = start("exec $lockbyfile run job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  auto next = start("exec $lockbyfile run -q job -- sh -c 'echo next; sleep 60'");
  until("test $($lockbyfile status --json job | grep -c '\"waiting\":') = 1");
  EXPECT_EQ(shell("$lockbyfile stop -q job").code, 0);
  next.expect("next");
  EXPECT_EQ(shell("$lockbyfile status -q job").code, 75);
}

TEST_F(Stop, OfALockThatIsNotHeldIsOne) {
  EXPECT_EQ(shell("$lockbyfile stop job").code, 1);
  shell("$lockbyfile run job true");
  const auto r = shell("$lockbyfile stop job");
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("is not held"), std::string::npos) << r.err;
}

TEST_F(Stop, ByTheHoldersOwnCommandEndsItself) {
  const auto r = shell("$lockbyfile run job -- sh -c '$0 stop job; sleep 60' $lockbyfile");
  EXPECT_EQ(r.code, 143) << r.err;
}

TEST_F(Stop, OfAHolderInAnotherPidNamespaceIsAnErrorAndBreaksNothing) {
  auto holder = start("exec $lockbyfile run job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  if (shell("unshare --pid --fork --mount-proc true").code != 0) {
    GTEST_SKIP() << "no pid namespace can be made here";
  }
  for (const char* proc : {"--mount-proc ", ""}) {
    const auto r = shell(std::string("unshare --pid --fork ") + proc + "$lockbyfile stop job");
    EXPECT_EQ(r.code, 69) << r.err;
    EXPECT_NE(r.err.find("pid namespace"), std::string::npos) << r.err;
    EXPECT_EQ(shell("$lockbyfile status -q job").code, 75) << proc;
  }
}

TEST_F(Stop, ReachesAHolderInAContainerFromOutside) {
  if (shell("unshare --pid --fork --mount-proc true").code != 0) {
    GTEST_SKIP() << "no pid namespace can be made here";
  }
  auto holder = start(
      "exec unshare --pid --fork --mount-proc $lockbyfile run job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  EXPECT_EQ(shell("$lockbyfile stop -q job").code, 0);
  EXPECT_EQ(shell("$lockbyfile status -q job").code, 0);
}

TEST_F(Stop, OfAnotherUsersHolderIsNotPermittedAndBreaksNothing) {
  if (::getuid() != 0) GTEST_SKIP() << "takes two users";
  auto holder = start("exec $lockbyfile run --mode 666 job -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0777), 0);
  const auto r = shell("setpriv --reuid 65534 --regid 65534 --clear-groups $lockbyfile stop job");
  EXPECT_EQ(r.code, 77) << r.err;
  EXPECT_NE(r.err.find("belongs to another user"), std::string::npos) << r.err;
  EXPECT_EQ(shell("$lockbyfile status -q job").code, 75);
}

/// A tracer can keep a process that was killed from ending, with its descriptors open.
TEST_F(Stop, BreaksAGrantThatOutlivesEvenSigkill) {
  child holder([this](talk& t) {
    lockbyfile::named_lock lock("job", here());
    lock.lock();
    t.say(std::to_string(::getpid()));
    (void)t.hear();
  });
  const pid_t pid = std::stoi(holder.hear());
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, PTRACE_O_TRACEEXIT) != 0) {
    GTEST_SKIP() << "no process may be traced here";
  }
  const auto r = shell("$lockbyfile stop --kill-after 50ms job");
  EXPECT_EQ(r.code, 0) << r.err;
  if (r.out.find("broke 'job'") == std::string::npos) {
    GTEST_SKIP() << "this kernel ends what is traced: " << r.out;
  }
  EXPECT_EQ(shell("$lockbyfile status -q job").code, 0);
}

}  // namespace
