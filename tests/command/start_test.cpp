// SPDX-License-Identifier: Apache-2.0
//
// What starting the command costs, without a look at the time: what is loaded, and how often
// the kernel is asked. docs/performance.md, "What `run` costs".
#include <string>

#include "command/shell.hpp"

namespace {

class Start : public Command {
 protected:
  void SetUp() override {
    if (!LOCKBYFILE_LINKS_STATICALLY) GTEST_SKIP() << "this build links dynamically";
  }
};

TEST_F(Start, LoadsNothing) {
  if (shell("readelf --version").code != 0) GTEST_SKIP() << "there is no readelf";
  const auto r = shell("readelf --program-headers --dynamic --wide $lockbyfile");
  EXPECT_EQ(r.code, 0);
  EXPECT_NE(r.out.find("LOAD"), std::string::npos) << r.out;
  EXPECT_EQ(r.out.find("INTERP"), std::string::npos) << r.out;
  EXPECT_EQ(r.out.find("NEEDED"), std::string::npos) << r.out;
}

/// They were 266 before anything was done about them, and 78 after, in a directory as deep as ours.
TEST_F(Start, RunMakesFewSystemCalls) {
  if (shell("strace -o trace true").code != 0)
    GTEST_SKIP() << "there is no strace, or no permission";
  shell("$lockbyfile run x true");  // creates the lockfile
  // All of ours, and those that its child makes until it is another program. The witness of signals
  // runs beside them, and may end before its last one.
  EXPECT_EQ(shell("strace -f -o trace $lockbyfile run x /bin/true").code, 0);
  const auto r = shell(
      "run=$(sed -n '1s/ .*//p' trace); child=$(sed -n '2,$s/ *execve(.*//p' trace);"
      " grep '^[0-9]* *[a-z_0-9]*(' trace | awk -v run=$run -v child=$child"
      " '$1 == run || ($1 == child && !replaced) { n++ } $1 != run && $1 != child { witness++ }"
      " $1 == child && /execve/ { replaced = 1 } END { print n, witness + 0 }'");
  int own = 0;
  int of_witness = 0;
  ASSERT_EQ(std::sscanf(r.out.c_str(), "%d %d", &own, &of_witness), 2) << r.out;
  EXPECT_LE(own, 100) << content("trace");
  EXPECT_LE(of_witness, 10) << content("trace");
}

}  // namespace
