// SPDX-License-Identifier: Apache-2.0
//
// The tests' own child process (support/child.hpp).
#include "support/child.hpp"

#include <gtest/gtest.h>

namespace {

TEST(Child, ThatWasKilledIsNotTakenForTheNextOneThatEnds) {
  child killed([](talk& t) { (void)t.hear(); });
  child other([](talk& t) { (void)t.hear(); });
  killed.kill();
  other.say("end");
  EXPECT_EQ(killed.wait(), 128 + SIGKILL);
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(other.wait(), 0) << "the same again";
}

}  // namespace
