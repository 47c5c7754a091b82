// SPDX-License-Identifier: Apache-2.0
//
// The command, with names of etcd.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "command/shell.hpp"
#include "support/etcd_server.hpp"

namespace {

using nlohmann::json;

class EtcdCommand : public Command {
 protected:
  void SetUp() override {
    if (const auto what = etcd_server::missing(); !what.empty()) GTEST_SKIP() << what;
    server_.emplace();
    ::setenv("x", server_->url("jobs/x").c_str(), 1);
  }

  std::optional<etcd_server> server_;
};

TEST_F(EtcdCommand, RunHoldsTheLockAndHandsItsTokenOn) {
  const auto r = shell("$lockbyfile run $x sh -c 'echo $LOCKBYFILE_TOKEN; exit 7'");
  EXPECT_EQ(r.code, 7) << r.err;
  EXPECT_GT(std::stoull(r.out), 0U);
  EXPECT_EQ(r.err, "");
}

TEST_F(EtcdCommand, RunGivesUpAndSaysWhoHasIt) {
  auto holder = start("exec $lockbyfile run $x sh -c 'echo held; sleep 60'");
  holder.expect("held");
  const auto r = shell("$lockbyfile run -n $x true");
  EXPECT_EQ(r.code, 75);
  EXPECT_NE(r.err.find("held by sh"), std::string::npos) << r.err;
}

TEST_F(EtcdCommand, StatusListWaitBreakAndRmWork) {
  EXPECT_EQ(shell("$lockbyfile status $x").code, 1) << "never held";
  auto holder = start("exec $lockbyfile run $x sh -c 'echo $LOCKBYFILE_TOKEN; exec sleep 60'");
  const std::string token = holder.hear();
  const auto status = json::parse(shell("$lockbyfile status --json $x").out);
  EXPECT_EQ(status.at("state"), "held");
  EXPECT_EQ(status.at("holder").at("token").dump(), token);
  EXPECT_EQ(shell("$lockbyfile wait -q -w 0.1 $x").code, 75);
  const auto list = json::parse(shell("$lockbyfile list --json etcd://" + server_->endpoint()).out);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list.at(0).at("path"), server_->url("jobs/x"));
  EXPECT_EQ(shell("$lockbyfile rm $x").code, 75);
  EXPECT_EQ(shell("$lockbyfile break --token 1 $x").code, 1) << "another's token";
  EXPECT_EQ(shell("$lockbyfile break --token " + token + " $x").code, 0);
  EXPECT_EQ(holder.wait(), 76);
  EXPECT_EQ(shell("$lockbyfile wait -w 5 $x").code, 0);
  EXPECT_EQ(shell("$lockbyfile rm $x").code, 0);
  EXPECT_EQ(shell("$lockbyfile status $x").code, 1) << "forgotten";
}

TEST_F(EtcdCommand, RunEndsItsCommandBeforeTheLockCanOpenWhenNoServerAnswers) {
  auto holder = start("exec $lockbyfile run '" + server_->url("jobs/x?ttl=3") +
                      "' sh -c 'trap \"\" TERM; echo held;"
                      " while :; do date +%s%N >>beat; sleep 0.02; done'");
  holder.expect("held");
  const auto stopped = std::chrono::system_clock::now().time_since_epoch();
  server_->stop();
  EXPECT_EQ(holder.wait(), 76);
  std::string beats = content("beat");
  beats.erase(beats.rfind('\n'));  // and what it was about to write when it was killed
  const std::chrono::nanoseconds last_beat(std::stoll(beats.substr(beats.rfind('\n') + 1)));
  EXPECT_LT(last_beat - stopped, std::chrono::seconds(3));
  server_->go_on();
}

TEST_F(EtcdCommand, AWaiterThatIsInterruptedGivesUpItsPlaceBeforeItDies) {
  const std::string x = server_->url("jobs/x?ttl=100");
  auto holder = start("exec $lockbyfile run '" + x + "' sh -c 'echo held; exec sleep 100'");
  holder.expect("held");
  const auto keys = [this] {
    const std::string text = server_->ctl("get --prefix --keys-only jobs/x:");
    return std::count_if(text.begin(), text.end(), [](char c) { return c == ':'; });
  };
  const auto alone = keys();
  for (const int signal : {SIGTERM, SIGHUP, SIGUSR1}) {
    auto waiter = start("$lockbyfile run -q '" + x + "' true & echo $!; wait $!; echo $?");
    const std::string pid = waiter.hear();
    for (int i = 0; keys() == alone && i < 3000; ++i) ::usleep(10'000);
    ASSERT_GT(keys(), alone);
    ::kill(std::stoi(pid), signal);
    EXPECT_EQ(waiter.hear(), std::to_string(128 + signal));
    EXPECT_EQ(keys(), alone) << signal << " left a place behind";
  }
}

TEST_F(EtcdCommand, AWaiterThatIsInterruptedEndsThoughNoServerAnswers) {
  auto holder = start("exec $lockbyfile run $x sh -c 'echo held; exec sleep 100'");
  holder.expect("held");
  auto waiter = start("$lockbyfile run $x true 2>wait_err & echo $!; wait $!; echo $?");
  const std::string pid = waiter.hear();
  until("grep -q 'waiting for' wait_err");
  server_->stop();
  shell("kill -TERM " + pid);
  EXPECT_EQ(waiter.hear(), "143");
  server_->go_on();
}

TEST_F(EtcdCommand, RunWhoseKeyWasDeletedSaysSo) {
  auto holder = start("exec $lockbyfile run $x sh -c 'echo held; exec sleep 100' 2>run_err");
  holder.expect("held");
  server_->ctl("del --prefix jobs/x:");
  EXPECT_EQ(holder.wait(), 76);
  EXPECT_NE(content("run_err").find("its key in etcd was deleted"), std::string::npos)
      << content("run_err");
}

TEST_F(EtcdCommand, StopEndsAHolderOfThisMachine) {
  auto holder = start("exec $lockbyfile run $x sh -c 'echo held; exec sleep 60'");
  holder.expect("held");
  const auto r = shell("$lockbyfile stop $x");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(holder.wait(), 143);
  EXPECT_EQ(shell("$lockbyfile stop $x").code, 1);
}

TEST_F(EtcdCommand, StopOfAHolderOnAnotherHostSaysWhichAndBreaksNothing) {
  if (shell("unshare --uts true").code != 0) GTEST_SKIP() << "no other host name can be had here";
  auto holder = start(
      "exec unshare --uts sh -c \"hostname web3; exec $lockbyfile run $x sh -c 'echo held; exec "
      "sleep 60'\"");
  holder.expect("held");
  const auto r = shell("$lockbyfile stop $x");
  EXPECT_EQ(r.code, 69);
  EXPECT_NE(r.err.find("on web3"), std::string::npos) << r.err;
  EXPECT_EQ(shell("$lockbyfile status -q $x").code, 75);
  EXPECT_EQ(json::parse(shell("$lockbyfile status --json $x").out).at("holder").at("host"), "web3");
}

TEST_F(EtcdCommand, HeldKnowsTheInheritedGrant) {
  EXPECT_EQ(shell("$lockbyfile run $x -- sh -c '$0 held && $0 held $x && $0 run --once $x true' "
                  "$lockbyfile")
                .code,
            0);
  EXPECT_EQ(shell("$lockbyfile run $x -- $lockbyfile held $x-2").code, 1);
  EXPECT_EQ(shell("$lockbyfile held $x").code, 1);
}

TEST_F(EtcdCommand, RunThatIsKilledTakesItsCommandAlong) {
  auto holder = start("exec $lockbyfile run $x sh -c 'echo $$; exec sleep 60'");
  const std::string pid = holder.hear();
  holder.kill();
  until("! kill -0 " + pid);
}

TEST_F(EtcdCommand, AHolderThatAwakesFromASleepOfTheMachineKnowsThatItsLeaseIsOver) {
  auto holder =
      start("export ASLEEP=$PWD/asleep; LD_PRELOAD=" ETCD_ASLEEP " exec $lockbyfile run '" +
            server_->url("jobs/x?ttl=100") + "' sh -c 'echo held; exec sleep 100'");
  holder.expect("held");
  server_->stop();  // or it would say that the lease is still there
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(shell(": >asleep").code, 0);
  EXPECT_EQ(holder.wait(), 76);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(50));
  server_->go_on();
}

TEST_F(EtcdCommand, RunEndsItsCommandWithTheLease) {
  EXPECT_EQ(shell("$lockbyfile run --lease 1s $x sleep 60").code, 76);
  EXPECT_EQ(shell("$lockbyfile run -n $x true").code, 0);
}

TEST_F(EtcdCommand, RunWithoutAServerSaysSo) {
  const auto r = shell(
      "$lockbyfile run etcd://127.0.0.1:" + std::to_string(etcd_server::free_port()) + "/x true");
  EXPECT_EQ(r.code, 69);
  EXPECT_NE(r.err.find("no server answers"), std::string::npos) << r.err;
}

TEST_F(EtcdCommand, NamesLiveInADirectoryOnServersForEveryVerb) {
  ::setenv("d", ("etcd://" + server_->endpoint() + "/nightly?ttl=5").c_str(), 1);
  const auto r = shell(
      "export LOCKBYFILE_DIR=$d; $lockbyfile run 'a b' sh -c 'echo $LOCKBYFILE_FILE' &&"
      " $lockbyfile status 'a b' >/dev/null && $lockbyfile list && $lockbyfile prune");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find(server_->endpoint() + "/nightly/a%20b?ttl=5\n"), std::string::npos) << r.out;
  EXPECT_EQ(shell("$lockbyfile status --dir $d 'a b'").code, 1) << "pruned";
  EXPECT_EQ(shell("$lockbyfile run --dir $d b true").code, 0);
}

TEST_F(EtcdCommand, AWaitingRunThatIsInterruptedLeavesNoPlace) {
  auto holder = start("exec $lockbyfile run $x sh -c 'echo held; exec sleep 60'");
  holder.expect("held");
  const auto places = [&] {
    const std::string keys = server_->ctl("get --prefix --keys-only jobs/x:lock/");
    return std::count(keys.begin(), keys.end(), '/') / 2;
  };
  auto waiter = start("exec $lockbyfile run -q $x true");
  for (int i = 0; i < 3000 && places() != 2; ++i) ::usleep(10'000);
  ASSERT_EQ(places(), 2);
  waiter.signal(SIGTERM);
  (void)waiter.wait();
  EXPECT_EQ(places(), 1) << "it would stay for the ttl of 10 s";
}

TEST_F(EtcdCommand, WithoutItsCompanionSaysWhatToInstall) {
  if (!LOCKBYFILE_LINKS_STATICALLY) GTEST_SKIP() << "this build loads a module";
  const auto r = shell("cp $lockbyfile alone && ./alone status $x");
  EXPECT_EQ(r.code, 69);
  EXPECT_NE(r.err.find("lockbyfile-etcd"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("libgrpc++-dev"), std::string::npos) << r.err;
}

}  // namespace
