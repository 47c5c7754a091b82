// SPDX-License-Identifier: Apache-2.0
//
// Programs that are told a wrong time: by libfaketime, which wraps the C library's clocks,
// and by another boot id in /proc. TORTURE 25, 30.
//
// libfaketime fakes the monotonic clock, too, unless it is configured not to. Instants of such a
// process mean nothing to others, like those of another time namespace, so it is refused.
#include <chrono>
#include <string>

#include "command/shell.hpp"
#include "support/in_child.hpp"
#include "support/lock_process.hpp"

namespace {

using namespace std::chrono_literals;

class WrongTime : public DynamicCommand {
 protected:
  void SetUp() override {
    // As the program faketime does it, which stays between us and the command.
    library_ = shell("faketime -f +0d printenv LD_PRELOAD").out;
    while (library_.ends_with('\n')) library_.pop_back();
    if (library_.empty()) GTEST_SKIP() << "there is no faketime";
    const auto tried =
        shell("test $(" + wall("+1d") + "date +%s) -gt $(($(date +%s) + 80000)) && " + wall("+1d") +
              "$lockbyfile --help");
    if (tried.code != 0) GTEST_SKIP() << "the command does not run under faketime: " << tried.err;
  }
  [[nodiscard]] std::string all_clocks(const std::string& offset) const {
    return "env LD_PRELOAD='" + library_ + "' FAKETIME='" + offset + "' ";
  }
  [[nodiscard]] std::string wall(const std::string& offset) const {
    return all_clocks(offset) + "FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 ";
  }
  static std::uint64_t number(const std::string& text) {
    return text.empty() ? 0 : std::stoull(text);
  }
  const std::string token_ = "$lockbyfile run x -- sh -c 'echo $LOCKBYFILE_TOKEN'";

 private:
  std::string library_;
};

TEST_F(WrongTime, OnTheWallStealsNoLock) {
  auto holder = start("exec $lockbyfile run --lease 1h x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  for (const char* offset : {"+3650d", "-3650d", "+2h", "-2h"}) {
    const auto r = shell(wall(offset) + "$lockbyfile run -q -w 50ms x echo stolen");
    EXPECT_EQ(r.code, 75) << offset << ": " << r.out << r.err;
  }
}

TEST_F(WrongTime, OnTheWallOfTheHolderLosesNoLock) {
  for (const char* offset : {"+3650d", "-3650d"}) {
    auto holder = start("exec " + wall(offset) +
                        "$lockbyfile run --lease 1h x -- sh -c 'echo held; sleep 60'");
    holder.expect("held");
    EXPECT_EQ(shell("$lockbyfile run -q -w 50ms x echo stolen").code, 75) << offset;
    holder.signal(SIGTERM);
    EXPECT_EQ(holder.wait(), 128 + SIGTERM);
  }
}

TEST_F(WrongTime, OnTheWallChangesNoLeaseAndNoPatience) {
  for (const char* offset : {"+3650d", "-3650d"}) {
    const auto begun = steady_now();
    auto holder = start("exec " + wall(offset) +
                        "$lockbyfile run --lease 500ms x -- sh -c 'echo held; sleep 60'");
    holder.expect("held");
    EXPECT_EQ(shell(wall(offset) + "$lockbyfile run -q -w 20s x true").code, 0);
    EXPECT_GE(steady_now() - begun, 300ms) << "it is ended a little before";
    EXPECT_LT(steady_now() - begun, 15s);
    EXPECT_EQ(holder.wait(), 76);
  }
}

TEST_F(WrongTime, OnTheWallLetsTokensGrow) {
  std::uint64_t last = 0;
  for (const char* offset : {"-1d", "-3000d", "+1d", "-1d", "-3000d", "+3000d", "+0d"}) {
    const std::uint64_t first = number(shell(wall(offset) + token_).out);
    EXPECT_GT(first, last) << offset;
    EXPECT_EQ(shell("rm x.lockfile").code, 0);
    last = number(shell(wall(offset) + token_).out);
    EXPECT_GT(last, first) << offset << ", after the file was deleted";
  }
}

TEST_F(WrongTime, OfTheMonotonicClockIsRefusedAndTheLockStaysUnharmed) {
  auto holder = start("exec $lockbyfile run --lease 1h x -- sh -c 'echo held; sleep 60'");
  holder.expect("held");
  for (const char* offset : {"+3650d", "-3650d", "+2h", "-2h", "+0 x100"}) {
    const auto r = shell(all_clocks(offset) + "$lockbyfile run -w 1s x echo stolen");
    EXPECT_EQ(r.code, 69) << offset << ": " << r.out;
    EXPECT_EQ(r.out, "") << offset;
    EXPECT_NE(r.err.find(directory_.path() + "/x.lockfile"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("FAKETIME_DONT_FAKE_MONOTONIC"), std::string::npos) << r.err;
  }
  EXPECT_EQ(shell("$lockbyfile run -n x true").code, 75);
}

class WrongBoot : public Command {
 protected:
  void SetUp() override {
    if (!can_mount()) GTEST_SKIP() << "mounting is not permitted";
    if (shell(rebooted("true")).code != 0) GTEST_SKIP() << "the boot id cannot be mounted over";
  }
  static std::string rebooted(const std::string& text) {
    return "echo 6f1e3d2c-0a1b-4c5d-8e9f-001122334455 >id; unshare --mount sh -c '"
           "mount --bind id /proc/sys/kernel/random/boot_id && " +
           text + "' sh $lockbyfile";
  }
};

TEST_F(WrongBoot, FreesTheLockAndTokensGrow) {
  auto holder = start("exec $lockbyfile run x -- sh -c 'echo $LOCKBYFILE_TOKEN $$; exec sleep 60'");
  std::istringstream line(holder.hear());
  std::uint64_t last = 0;
  std::string command;
  line >> last >> command;
  EXPECT_EQ(shell(rebooted("exec $1 run -n x true")).code, 75) << "it is in use: no reboot";
  holder.kill();
  shell("kill -9 " + command);
  until(rebooted("$1 status x | head -1 | grep -q free"));
  const auto r = shell(rebooted("exec $1 run -n x printenv LOCKBYFILE_TOKEN"));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_GT(std::stoull("0" + r.out), last);
}

}  // namespace
