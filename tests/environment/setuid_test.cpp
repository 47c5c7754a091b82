// SPDX-License-Identifier: Apache-2.0
//
// A setuid program: what its caller's environment says must not decide where it makes its files.
#include "command/shell.hpp"
#include "support/in_child.hpp"

namespace {

using SetuidProgram = Command;

TEST_F(SetuidProgram, DoesNotMakeItsLockfileWhereItsCallerSays) {
  if (!can_become_nobody()) GTEST_SKIP() << "only root can make a program another user's";
  const auto r = shell(
      "chmod 777 . && mkdir -m 777 callers && cp $lockbyfile program && chown 65534 program && "
      "chmod 4755 program && LOCKBYFILE_DIR=$PWD/callers ./program run x -- id -u; ls callers; "
      "stat -c %u x.lockfile");
  if (r.out.starts_with("0\n")) GTEST_SKIP() << "setuid has no effect here";
  EXPECT_EQ(r.out, "65534\n65534\n") << r.err;
}

}  // namespace
