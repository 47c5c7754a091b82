// SPDX-License-Identifier: Apache-2.0
//
// named_lock::note_run: what the lock remembers of how the last run ended.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <lockbyfile/lockbyfile.hpp>
#include <memory>
#include <string>

#include "file/records.hpp"
#include "support/files.hpp"
#include "support/lock_test.hpp"
#include "support/mapped_lockfile.hpp"

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;

using NoteRun = LockTest;

TEST_F(NoteRun, IsShownWithItsGrantAndOutlivesIt) {
  named_lock lock(name());
  const fencing_token token = lock.acquire(0ns).token;
  EXPECT_FALSE(look().last_run);
  const auto before = std::chrono::system_clock::now() - 1ms;
  lock.note_run(90min, -7);
  lock.unlock();
  const auto last = look().last_run;
  ASSERT_TRUE(last);
  EXPECT_EQ(last->token, token);
  EXPECT_EQ(last->duration, 90min);
  EXPECT_EQ(last->exit_code, -7);
  EXPECT_GE(last->ended, before);
  EXPECT_LE(last->ended, std::chrono::system_clock::now());
}

TEST_F(NoteRun, WithoutAGrantChangesNothing) {
  named_lock lock(name());
  lock.note_run(1s, 1);
  EXPECT_FALSE(look().last_run);
}

TEST_F(NoteRun, OfALateHolderDoesNotReplaceThatOfItsSuccessor) {
  named_lock late(name(), {.lease = 1ms});
  named_lock next(name());
  (void)late.acquire(0ns);
  const fencing_token token = next.acquire(10s).token;
  next.note_run(2s, 2);
  late.note_run(1s, 1);
  EXPECT_EQ(look().last_run.value().token, token);
  EXPECT_EQ(look().last_run.value().exit_code, 2);
}

// cp data NAME.lockfile, by the very command that runs under the lock.
TEST_F(NoteRun, LeavesOtherDataThatWasCopiedOverTheFileAlone) {
  named_lock lock(name());
  (void)lock.acquire(0ns);
  const std::string data(8192, 'd');
  {
    std::fstream file(name(), std::ios::in | std::ios::out | std::ios::binary);
    file << data;
  }
  lock.note_run(3s, 0);
  lock.unlock();
  EXPECT_EQ(content_of(name()), data);
}

TEST_F(NoteRun, ARecordThatDoesNotFitIsNotShown) {
  named_lock lock(name());
  (void)lock.acquire(0ns);
  lock.note_run(3s, 0);
  mapped_lockfile file(name());
  file->header.run_exit_code.store(1);
  EXPECT_FALSE(look().last_run) << "half of another record";
}

TEST_F(NoteRun, ZerosAreNoRecord) {
  const auto nothing = std::make_unique<file::header>();
  EXPECT_FALSE(file::read_run(*nothing));
  EXPECT_FALSE(file::read_break(*nothing));
}

}  // namespace
}  // namespace lockbyfile
