// SPDX-License-Identifier: Apache-2.0
//
// Histories that no sound lock can have, made by hand, and the checker's findings on them. Their
// nearest sound neighbours have to pass. Times are in microseconds, from the 100th second on.
#include "checker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <lockbyfile/lockbyfile.hpp>
#include <string>
#include <vector>

namespace lockbyfile::torture {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

instant at(std::uint64_t us) { return 100'000'000'000 + microseconds(us); }

class Checker : public ::testing::Test {
 protected:
  /// Returns a new operation, which the test may change until it makes the next one.
  deed& add(deed_kind kind, std::uint32_t process, std::uint64_t begin, std::uint64_t end) {
    deed d;
    d.kind = kind;
    d.process = process;
    d.session = process;
    d.begin = at(begin);
    d.lease = no_lease;
    d.result.end = end == 0 ? 0 : at(end);
    deeds_.push_back(d);
    return deeds_.back();
  }
  deed& acquire(std::uint32_t process, std::uint64_t begin, std::uint64_t end, std::uint64_t token,
                grant_kind how = grant_kind::free, nanoseconds lease = no_lease) {
    deed& d = add(deed_kind::acquire, process, begin, end);
    d.patience = forever;
    d.looked = d.begin;
    d.lease = lease;
    d.result.token = token;
    d.result.how = how;
    d.result.from = d.result.to = lease == no_lease ? never : after(d.result.end, lease);
    return d;
  }
  deed& refused(std::uint32_t process, std::uint64_t begin, std::uint64_t end,
                nanoseconds patience) {
    deed& d = add(deed_kind::acquire, process, begin, end);
    d.patience = patience;
    d.looked = d.begin;
    d.result.error = static_cast<int>(errc::timed_out);
    return d;
  }
  deed& release(std::uint32_t process, std::uint64_t begin) {
    return add(deed_kind::release, process, begin, begin + 1);
  }
  deed& lost(deed_kind kind, std::uint32_t process, std::uint64_t begin) {
    deed& d = add(kind, process, begin, begin + 1);
    d.result.error = static_cast<int>(errc::lease_lost);
    return d;
  }
  void kill(std::uint32_t process, std::uint64_t begin, std::uint64_t gone) {
    add(deed_kind::kill, process, begin, begin).session = 0;
    add(deed_kind::gone, process, gone, gone).session = 0;
  }
  void stop(std::uint32_t process, std::uint64_t begin, std::uint64_t end) {
    deed& d = add(deed_kind::stop, process, begin, end);
    d.session = 0;
    d.result.from = at(begin + 1);
    d.result.to = at(end - 1);
  }
  void fork(std::uint32_t process, std::uint64_t begin, std::uint64_t end) {
    add(deed_kind::fork, process, begin, end).session = 0;
  }
  void mischief(mischief_kind kind, std::uint64_t begin, std::uint64_t end) {
    deed& d = add(deed_kind::mischief, 99, begin, end);
    d.session = 0;
    d.detail = static_cast<std::uint8_t>(kind);
  }
  deed& broken(std::uint64_t begin, std::uint64_t end, std::uint64_t token) {
    deed& d = add(deed_kind::breaking, 98, begin, end);
    d.session = 0;
    d.token = token;
    return d;
  }
  void stall(std::uint64_t begin, std::uint64_t end) {
    add(deed_kind::stall, 0, begin, end).session = 0;
  }

  [[nodiscard]] std::vector<std::string> violations() const {
    report all = check(deeds_, {}, engine_);
    all.settle();
    return all.violations;
  }
  void expect_clean() const {
    for (const std::string& v : violations()) ADD_FAILURE() << v;
  }
  /// Expects a violation whose text contains `why`.
  void expect_rejected(const std::string& why) const {
    const auto found = violations();
    const auto says_why = [&](const std::string& v) { return v.find(why) != std::string::npos; };
    EXPECT_TRUE(std::ranges::any_of(found, says_why)) << "not rejected: " << why;
  }

  std::vector<deed> deeds_;
  engine engine_ = engine::files;
};

TEST_F(Checker, AcceptsASoundHistory) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 2020, 3);  // waits
  release(1, 2000);
  acquire(3, 500, 3020, 5);
  release(2, 3000);
  refused(4, 2900, 3910, 1ms);
  kill(3, 4000, 4100);
  acquire(5, 3000, 8000, 6, grant_kind::abandoned, 2ms);
  acquire(6, 5000, 10'100, 7, grant_kind::expired);
  lost(deed_kind::release, 5, 12'000);
  release(6, 13'000);
  expect_clean();
  const report r = check(deeds_);
  EXPECT_EQ(r.grants[static_cast<std::size_t>(grant_kind::free)], 3U);
  EXPECT_EQ(r.tallies[static_cast<std::size_t>(bound::death)].judged, 1U);
  EXPECT_EQ(r.tallies[static_cast<std::size_t>(bound::lease)].judged, 1U);
  EXPECT_EQ(r.last_token.at(0), 7U);
}

// --- P1, P4 ----------------------------------------------------------------------

TEST_F(Checker, RejectsASecondHolder) {
  acquire(1, 0, 10, 1);
  acquire(2, 20, 30, 3);
  release(1, 31);
  release(2, 40);
  expect_rejected("a second holder");
}

TEST_F(Checker, RejectsASecondHolderOfAStoppedOne) {
  acquire(1, 0, 10, 1);
  stop(1, 20, 90'000);
  acquire(2, 30, 40, 2, grant_kind::expired);
  EXPECT_FALSE(violations().empty());
}

TEST_F(Checker, RejectsASecondHolderWithinTheLease) {
  acquire(1, 0, 10, 1, grant_kind::free, 50ms);
  acquire(2, 20, 49'000, 2, grant_kind::expired);
  EXPECT_FALSE(violations().empty());
}

TEST_F(Checker, AcceptsASuccessorAfterTheShorterLeaseOfARenewalThatCameTooLate) {
  acquire(1, 0, 10, 1);
  lost(deed_kind::renew, 1, 1000).lease = 50us;
  deeds_.back().result.end = at(1100);
  acquire(2, 20, 1060, 2, grant_kind::expired);
  expect_clean();
}

TEST_F(Checker, RejectsASuccessorBeforeTheShorterLeaseOfARenewalThatCameTooLate) {
  acquire(1, 0, 10, 1);
  lost(deed_kind::renew, 1, 1000).lease = 50us;
  deeds_.back().result.end = at(1100);
  acquire(2, 20, 1040, 2, grant_kind::expired);
  expect_rejected("a second holder");
}

TEST_F(Checker, RejectsAffirmingAGrantThatHasASuccessor) {
  acquire(1, 0, 10, 1, grant_kind::free, 1ms);
  acquire(2, 20, 1020, 2, grant_kind::expired);
  add(deed_kind::renew, 1, 5000, 5001);  // and no error
  release(2, 6000);
  expect_rejected("a second holder");
}

TEST_F(Checker, AcceptsARenewalAfterTheLeaseIfNobodyCameBetween) {
  acquire(1, 0, 10, 1, grant_kind::free, 1ms);
  deed& renewal = add(deed_kind::renew, 1, 5000, 5001);
  renewal.result.from = renewal.result.to = at(6001);
  acquire(2, 5500, 6100, 3, grant_kind::expired);
  expect_clean();
}

TEST_F(Checker, AcceptsASuccessorAfterABreak) {
  acquire(1, 0, 10, 1);
  broken(20, 30, 1);
  acquire(2, 15, 50, 3, grant_kind::broken);
  lost(deed_kind::ask, 1, 60);
  expect_clean();
}

TEST_F(Checker, RejectsFreeAfterABreak) {
  acquire(1, 0, 10, 1);
  broken(20, 30, 1);
  acquire(2, 15, 50, 3);
  expect_rejected("nobody had freed it");
}

TEST_F(Checker, RejectsBrokenThoughTheBreakHitAnotherGrant) {
  acquire(1, 0, 10, 1);
  broken(20, 30, 1);
  acquire(2, 15, 50, 3, grant_kind::broken);
  release(2, 100);
  acquire(3, 110, 120, 5, grant_kind::broken);
  expect_rejected("broken, though nobody had broken it");
}

TEST_F(Checker, AcceptsThatADeletionIsToldLateByOneWhoHadNotLookedSince) {
  acquire(1, 0, 10, 1);
  mischief(mischief_kind::replaced, 20, 30);
  acquire(2, 60'000, 60'010, 60'000);
  release(2, 60'020);
  acquire(3, 60'030, 60'040, 60'100, grant_kind::broken).looked = at(15);
  expect_clean();
}

TEST_F(Checker, RejectsThatADeletionIsToldLateIfAllHaveLookedSince) {
  acquire(1, 0, 10, 1);
  mischief(mischief_kind::replaced, 20, 30);
  acquire(2, 60'000, 60'010, 60'000);
  release(2, 60'020);
  acquire(3, 60'030, 60'040, 60'100, grant_kind::broken).looked = at(50'000);
  expect_rejected("broken, though nobody had broken it");
}

TEST_F(Checker, RejectsASuccessorAfterABreakOfAnotherGrant) {
  acquire(1, 0, 10, 7);
  broken(20, 30, 5);
  acquire(2, 15, 50, 9);
  EXPECT_FALSE(violations().empty());
}

TEST_F(Checker, AcceptsASuccessorInAFileThatReplacedTheOld) {
  acquire(1, 0, 10, 1);
  mischief(mischief_kind::replaced, 20, 30);
  acquire(2, 20'000, 20'010, 5);
  lost(deed_kind::ask, 1, 30'000);
  expect_clean();
}

TEST_F(Checker, RejectsTwoHoldersOfTheNewFile) {
  mischief(mischief_kind::replaced, 20, 30);
  acquire(1, 20'000, 20'010, 5);
  acquire(2, 20'020, 20'030, 7);
  release(1, 20'040);
  EXPECT_FALSE(violations().empty());
}

TEST_F(Checker, RejectsAHolderWhoIsBlindToADeletedFile) {
  acquire(1, 0, 10, 1);
  mischief(mischief_kind::replaced, 20, 30);
  add(deed_kind::ask, 1, 20'000, 20'001);
  expect_rejected("though the file was replaced");
}

TEST_F(Checker, RejectsAChildThatHolds) {
  add(deed_kind::wrong, 1, 0, 1).detail = static_cast<std::uint8_t>(wrong_kind::child_holds);
  expect_rejected("child");
}

// --- P2 --------------------------------------------------------------------------

TEST_F(Checker, RejectsATokenThatShrinks) {
  acquire(1, 0, 10, 9);
  release(1, 20);
  acquire(2, 30, 40, 7);
  release(2, 50);
  expect_rejected("did not grow");
}

TEST_F(Checker, RejectsATokenThatIsGivenTwice) {
  acquire(1, 0, 10, 9);
  release(1, 20);
  acquire(2, 5, 40, 9);
  release(2, 50);
  expect_rejected("given twice");
}

TEST_F(Checker, RejectsATokenThatIsGivenTwiceInTwoFiles) {
  acquire(1, 0, 10, 7);
  release(1, 100);
  mischief(mischief_kind::replaced, 150, 160);
  acquire(2, 200, 210, 7);
  release(2, 300);
  expect_rejected("given twice");
}

TEST_F(Checker, AcceptsATokenThatIsGivenTwiceAfterRandomBytes) {
  acquire(1, 0, 10, 7);
  release(1, 100);
  mischief(mischief_kind::scribbled, 150, 400);
  acquire(2, 200, 210, 7);
  release(2, 300);
  expect_clean();
}

TEST_F(Checker, AcceptsATokenBelowOneThatCameFromRandomBytes) {
  mischief(mischief_kind::scribbled, 0, 200);
  acquire(1, 50, 60, 9);
  release(1, 100);
  acquire(2, 50'000, 50'010, 7);
  expect_clean();
  EXPECT_EQ(check(deeds_).last_token.at(0), 7U);
}

TEST_F(Checker, RejectsATokenBelowOneThatCameBeforeTheRandomBytes) {
  acquire(1, 0, 10, 9);
  release(1, 100);
  mischief(mischief_kind::scribbled, 50'000, 50'200);
  acquire(2, 150'000, 150'010, 7);
  expect_rejected("did not grow");
}

TEST_F(Checker, RejectsATokenBelowThatOfAnEarlierRound) {
  acquire(1, 0, 10, 9);
  EXPECT_TRUE(check(deeds_, {{0, 8}}).violations.empty());
  EXPECT_FALSE(check(deeds_, {{0, 9}}).violations.empty());
}

// --- P3 --------------------------------------------------------------------------

TEST_F(Checker, RejectsALossWithoutAReason) {
  for (const deed_kind kind : {deed_kind::release, deed_kind::renew, deed_kind::ask}) {
    deeds_.clear();
    acquire(1, 0, 10, 1, grant_kind::free, 1h);
    lost(kind, 1, 100);
    expect_rejected("lost without a reason");
  }
}

TEST_F(Checker, RejectsALeaseThatIsTooShort) {
  acquire(1, 0, 10, 1, grant_kind::free, 50ms).result.to = at(30'000);
  expect_rejected("too short");
}

TEST_F(Checker, RejectsOneWhoHoldsBeyondItsLease) {
  acquire(1, 0, 10, 1, grant_kind::free, 1ms);
  deed& d = add(deed_kind::ask, 1, 5000, 5001);
  d.result.from = d.result.to = at(5002);
  expect_rejected("beyond its lease");
}

TEST_F(Checker, RejectsExpiredBeforeTheEndOfTheLease) {
  acquire(1, 0, 10, 1, grant_kind::free, 50ms);
  kill(1, 500, 600);
  acquire(2, 700, 710, 2, grant_kind::expired);
  expect_rejected("expired, before the end");
}

TEST_F(Checker, RejectsAbandonedByALivingHolder) {
  acquire(1, 0, 10, 1, grant_kind::free, 500us);
  acquire(2, 20, 600, 2, grant_kind::abandoned);
  expect_rejected("abandoned by a holder who lives");
}

TEST_F(Checker, RejectsFreeThoughNobodyFreedIt) {
  acquire(1, 0, 10, 1);
  kill(1, 500, 600);
  acquire(2, 700, 710, 2);
  expect_rejected("nobody had freed it");
}

TEST_F(Checker, AcceptsAbandonedByOneWhoWasKilledInAcquire) {
  acquire(1, 0, 10, 1);
  release(1, 500);
  acquire(2, 490, 0, 0);  // no end
  kill(2, 600, 700);
  acquire(3, 650, 5000, 4, grant_kind::abandoned);
  expect_clean();
}

TEST_F(Checker, RejectsAnErrorThatIsNoAnswer) {
  refused(1, 0, 10, 1ms).result.error = static_cast<int>(errc::damaged);
  expect_rejected("error");
}

// --- P5, P6 ----------------------------------------------------------------------

TEST_F(Checker, RejectsAWaitOf60MsOnAFreeLock) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 62'000, 3);
  release(1, 2000);
  expect_rejected("a free lock was left untaken");
}

TEST_F(Checker, RejectsAWaitOf3MsOnAFreeLock) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5000, 3);
  release(1, 2000);
  expect_rejected("a free lock was left untaken");
}

/// Such a wait among 999 others, `late` us later than the bound allows.
class OneInAThousand : public Checker {
 protected:
  void make(int late) {
    for (int i = 0; i < 1000; ++i) {
      const int start = i * 10'000;
      acquire(1, start, start + 10, static_cast<std::uint64_t>(2 * i + 1));
      acquire(2, start + 100, start + 2501 + (i == 500 ? 500 + late : 0),
              static_cast<std::uint64_t>(2 * i + 2));
      release(1, start + 2000);
      release(2, start + 8000);
    }
  }
};

TEST_F(OneInAThousand, MayBeLaterByWhatTheYardstickDoesNotSee) {
  make(50);
  expect_clean();
  EXPECT_EQ(check(deeds_).tallies[static_cast<std::size_t>(bound::handoff)].broken, 1U);
}

TEST_F(OneInAThousand, MayNotBeLaterByMore) {
  make(300);
  expect_rejected("a free lock was left untaken");
}

TEST_F(Checker, AcceptsSuchAWaitOfAThreadThatWasKeptFromRunning) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5000, 3).result.delay = microseconds(2500);
  release(1, 2000);
  expect_clean();
  EXPECT_EQ(check(deeds_).tallies[static_cast<std::size_t>(bound::handoff)].within, 0U);
}

TEST_F(Checker, RejectsALeaseThatEnds17MsEarly) {
  outcome& r = acquire(1, 100'000, 100'010, 1, grant_kind::free, 1h).result;
  r.from -= milliseconds(17);
  r.to = r.from;
  expect_rejected("a lease that is too short");
}

TEST_F(Checker, AcceptsSuchALeaseIfAProcessorStoodStill) {
  outcome& r = acquire(1, 100'000, 100'010, 1, grant_kind::free, 1h).result;
  r.from -= milliseconds(17);
  r.to = r.from;
  stall(80'000, 99'000);
  expect_clean();
}

TEST_F(Checker, AcceptsSuchAWaitWhileTheProcessForks) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5000, 3);
  release(1, 2000);
  fork(2, 2100, 4900);
  expect_clean();
}

TEST_F(Checker, RejectsSuchAWaitWhileAnotherProcessForks) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5000, 3);
  release(1, 2000);
  fork(3, 2100, 4900);
  expect_rejected("a free lock was left untaken");
}

TEST_F(Checker, AcceptsSuchAWaitIfTheMachineStoodStill) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5000, 3);
  release(1, 2000);
  stall(2100, 4900);
  expect_clean();
}

TEST_F(Checker, AcceptsAWaitOf25MsBehindAStoppedHead) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 80'000, 5);
  acquire(3, 1500, 24'000, 3);
  stop(2, 1000, 70'000);
  release(1, 2000);
  release(3, 60'000);
  expect_clean();
}

TEST_F(Checker, AcceptsAWaitOf50MsBehindAStoppedProcessWithTwoThreadsInLine) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 90'000, 5);
  acquire(2, 110, 91'500, 7).session = 20;
  stop(2, 200, 89'000);
  acquire(3, 1500, 52'900, 3);
  release(1, 3000);
  release(3, 60'000);
  release(2, 91'000);
  expect_clean();
}

TEST_F(Checker, AcceptsAWaitOf50MsBehindAStoppedHeadAndOneThatDiedBehindIt) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 90'000, 5);
  stop(2, 200, 89'000);
  acquire(4, 300, 0, 0);
  kill(4, 500, 600);
  acquire(3, 1500, 52'900, 3);
  release(1, 3000);
  release(3, 60'000);
  expect_clean();
}

TEST_F(Checker, AcceptsAWaitBehindOneThatDiedAfterABreakAndBeforeTheLateRelease) {
  acquire(1, 0, 10, 1);
  acquire(3, 100, 0, 0);
  acquire(2, 200, 9000, 4);
  broken(2000, 2050, 1);
  kill(3, 2500, 2600);
  lost(deed_kind::release, 1, 4000);
  release(2, 9500);
  expect_clean();
}

TEST_F(Checker, RejectsAWaitOf60MsBehindAStoppedHead) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 80'000, 5);
  acquire(3, 1500, 62'000, 3);
  stop(2, 1000, 70'000);
  release(1, 2000);
  release(3, 75'000);
  expect_rejected("a free lock was left untaken");
}

TEST_F(Checker, RejectsAStoppedHeadForWhichAllOthersWait) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 80'000, 3);
  acquire(3, 1500, 90'000, 5);
  stop(2, 1000, 79'000);
  release(1, 2000);
  release(2, 89'950);
  expect_rejected("a free lock was left untaken");
}

TEST_F(Checker, RejectsADeathThatIsNoticedAfter20Ms) {
  acquire(1, 0, 10, 1);
  kill(1, 1000, 1100);
  acquire(2, 100, 21'200, 2, grant_kind::abandoned);
  expect_rejected("a dead holder was not noticed");
}

TEST_F(Checker, AcceptsADeathThatIsNoticed20MsLaterForEachWhoDiedInLineBefore) {
  acquire(1, 0, 10, 1);
  acquire(2, 50, 0, 0);
  acquire(3, 60, 0, 0);
  kill(2, 1000, 1100);
  kill(3, 1000, 1100);
  kill(1, 4000, 4100);
  acquire(4, 100, 54'000, 2, grant_kind::abandoned);
  expect_clean();
  deeds_.back().result.end = at(55'000);
  expect_rejected("a dead holder was not noticed");
}

TEST_F(Checker, RejectsAnEndOfALeaseThatIsNoticedAfter4Ms) {
  acquire(1, 0, 10, 1, grant_kind::free, 10ms);
  acquire(2, 100, 14'010, 2, grant_kind::expired);
  expect_rejected("the end of a lease was not noticed");
}

// --- P7 --------------------------------------------------------------------------

TEST_F(Checker, RejectsOvertakingByMoreThanAMillisecond) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5010, 5);
  acquire(3, 1500, 3010, 3);
  release(1, 3000);
  release(3, 5000);
  expect_rejected("overtaken");
}

TEST_F(Checker, RejectsOvertakingOneWhoGivesUpLater) {
  acquire(1, 0, 10, 1);
  refused(2, 100, 10'110, 10ms);
  acquire(3, 1500, 3010, 3);
  release(1, 3000);
  expect_rejected("overtaken");
}

TEST_F(Checker, AcceptsOvertakingWithinTheMillisecond) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 5010, 5);
  acquire(3, 1140, 3010, 3);
  release(1, 3000);
  release(3, 5000);
  expect_clean();
}

TEST_F(Checker, AcceptsOvertakingAStoppedOne) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 50'010, 5);
  stop(2, 200, 49'990);
  acquire(3, 1500, 23'100, 3);
  release(1, 3000);
  release(3, 30'000);
  expect_clean();
}

TEST_F(Checker, AcceptsOvertakingOneWhoWakesUpLateNextToALockThatWasLeftFor20Ms) {
  acquire(1, 0, 10, 1);
  acquire(2, 100, 50'010, 9).patience = forever;
  stop(2, 200, 49'990);
  acquire(3, 1500, 26'500, 5).result.delay = milliseconds(3);
  acquire(4, 9000, 24'000, 3);
  release(1, 3000);
  release(4, 26'000);
  release(3, 30'000);
  expect_clean();
}

TEST_F(Checker, RejectsOvertakingOneWhoWakesUpLateAtOtherTimes) {
  acquire(1, 0, 10, 1);
  acquire(3, 1500, 26'500, 5).result.delay = milliseconds(3);
  acquire(4, 9000, 19'000, 3);
  release(1, 18'000);
  release(4, 26'000);
  expect_rejected("overtaken");
}

// --- P8 --------------------------------------------------------------------------

TEST_F(Checker, RejectsPatienceThatEndsEarly) {
  refused(1, 0, 9990, 10ms);
  expect_rejected("patience ended early");
}

TEST_F(Checker, RejectsAWaitPastItsDeadline) {
  refused(1, 0, 12'000, 10ms);
  expect_rejected("beyond its deadline");
}

TEST_F(Checker, RejectsAGrantPastItsDeadline) {
  acquire(1, 0, 12'000, 1).patience = 10ms;
  expect_rejected("beyond its deadline");
}

TEST_F(Checker, AcceptsAWaitThatIsLateForItWasStopped) {
  refused(1, 0, 30'000, 10ms);
  stop(1, 5000, 29'900);
  expect_clean();
}

TEST_F(Checker, RejectsACancellationLongAfterTheRequest) {
  deed& d = refused(1, 0, 30'000, forever);
  d.result.error = static_cast<int>(errc::cancelled);
  d.result.from = d.result.to = at(20'000);
  expect_rejected("beyond its deadline");
}

TEST_F(Checker, RejectsACancellationBeforeTheRequest) {
  deed& d = refused(1, 0, 10'000, forever);
  d.result.error = static_cast<int>(errc::cancelled);
  d.result.from = d.result.to = at(20'000);
  expect_rejected("before the request");
}

// --- Locks in etcd ------------------------------------------------------------------

constexpr std::uint64_t s = 1'000'000;  // in microseconds

class CheckerOverEtcd : public Checker {
 protected:
  CheckerOverEtcd() { engine_ = engine::etcd; }
  /// A grant that the lock says is certain for `sure` microseconds.
  deed& sure(std::uint32_t process, std::uint64_t begin, std::uint64_t end, std::uint64_t token,
             std::uint64_t sure_for, grant_kind how = grant_kind::free) {
    deed& d = acquire(process, begin, end, token, how);
    d.result.from = at(end + sure_for);
    return d;
  }
  void outage(std::uint64_t begin, std::uint64_t end) {
    add(deed_kind::outage, 0, begin, end).session = 0;
  }
  void revoking(std::uint64_t begin, std::uint64_t end) {
    add(deed_kind::revoking, 0, begin, end).session = 0;
  }
  void fenced_off(std::uint64_t when) {
    add(deed_kind::wrong, 1, when, when).detail = static_cast<std::uint8_t>(wrong_kind::fenced_off);
  }
};

TEST_F(CheckerOverEtcd, AcceptsASuccessorOfAStoppedHolder) {
  sure(1, 0, 10, 1, 2 * s);
  stop(1, 20, 4 * s);
  sure(2, 100, 3 * s, 5, 2 * s, grant_kind::abandoned);
  lost(deed_kind::ask, 1, 4 * s + 10);
  release(2, 4 * s);
  expect_clean();
}

TEST_F(CheckerOverEtcd, FindsASuccessorBeforeTheHolderIsSureToHaveLostIt) {
  sure(1, 0, 10, 1, 2 * s);
  stop(1, 20, 4 * s);
  sure(2, 100, 1 * s, 5, 2 * s, grant_kind::abandoned);
  expect_rejected("a second holder");
}

TEST_F(CheckerOverEtcd, FindsAHolderWhoIsToldThatHeHoldsBesideAnother) {
  sure(1, 0, 10, 1, 2 * s);
  stop(1, 20, 4 * s);
  sure(2, 100, 3 * s, 5, 2 * s, grant_kind::abandoned);
  add(deed_kind::ask, 1, 4 * s + 10, 4 * s + 20);
  expect_rejected("a second holder");
}

TEST_F(CheckerOverEtcd, FindsALossBeforeItsTime) {
  sure(1, 0, 10, 1, 2 * s);
  lost(deed_kind::ask, 1, 1 * s);
  expect_rejected("lost without a reason");
}

TEST_F(CheckerOverEtcd, AcceptsADelayDuringAnOutage) {
  sure(1, 0, 10, 1, 2 * s);
  sure(2, 100, 7 * s, 5, 2 * s);
  release(1, 1 * s);
  release(2, 8 * s);
  outage(1 * s, 4 * s);
  expect_clean();
}

TEST_F(CheckerOverEtcd, FindsALockThatIsLeftUntakenLongAfterAnOutage) {
  sure(1, 0, 10, 1, 2 * s);
  sure(2, 100, 19 * s, 5, 2 * s);
  release(1, 1 * s);
  release(2, 20 * s);
  outage(1 * s, 4 * s);
  expect_rejected("left untaken");
}

TEST_F(CheckerOverEtcd, FindsServersUnreachableThatAreThere) {
  refused(1, 0, 1 * s, 2s).result.error = static_cast<int>(errc::unreachable);
  expect_rejected("error");
}

TEST_F(CheckerOverEtcd, AcceptsServersUnreachableWhileTheyAreOut) {
  refused(1, 0, 1 * s, 2s).result.error = static_cast<int>(errc::unreachable);
  outage(0, 1 * s);
  expect_clean();
}

TEST_F(CheckerOverEtcd, AcceptsServersUnreachableThatAreSlowForOthers) {
  refused(1, 0, 1 * s, 2s).result.error = static_cast<int>(errc::unreachable);
  add(deed_kind::removing, 2, s / 4, s);
  expect_clean();
}

TEST_F(CheckerOverEtcd, FindsServersUnreachableThatAreSlowForNobodyElse) {
  refused(1, 0, 1 * s, 2s).result.error = static_cast<int>(errc::unreachable);
  add(deed_kind::removing, 1, s / 4, s);  // of the same process
  add(deed_kind::removing, 2, s / 4, s);  // which stood still
  stop(2, s / 4, s);
  add(deed_kind::removing, 3, 2 * s, 3 * s);
  expect_rejected("error");
}

TEST_F(CheckerOverEtcd, AcceptsALeaseThatEtcdEndsByItsFault) {
  sure(1, 0, 10, 1, 20 * s);
  outage(100, 1 * s);
  revoking(1 * s, 2 * s);
  sure(2, 100, s + s / 2, 5, 2 * s, grant_kind::abandoned);
  add(deed_kind::ask, 1, s + s / 2 + 10, s + s / 2 + 20);
  lost(deed_kind::ask, 1, 2 * s);
  release(2, 3 * s);
  expect_clean();
}

TEST_F(CheckerOverEtcd, FindsAHolderWhoIsNotToldOfEtcdsFault) {
  sure(1, 0, 10, 1, 20 * s);
  revoking(1 * s, 2 * s);
  sure(2, 100, s + s / 2, 5, 2 * s, grant_kind::abandoned);
  add(deed_kind::ask, 1, 2 * s + 10, 2 * s + 20);
  release(2, 3 * s);
  expect_rejected("a second holder");
}

TEST_F(CheckerOverEtcd, FindsASecondHolderBesideOneThatWasGrantedAfterEtcdsFault) {
  outage(100, 1 * s);
  revoking(1 * s, 2 * s);
  sure(1, s + s / 2, 2 * s + 10, 1, 20 * s);
  sure(2, 2 * s + 20, 2 * s + 30, 5, 2 * s);
  expect_rejected("a second holder");
}

TEST_F(CheckerOverEtcd, AcceptsAHolderWhoMeetsALargerTokenByEtcdsFault) {
  revoking(1 * s, 2 * s);
  fenced_off(s + s / 2);
  expect_clean();
}

TEST_F(CheckerOverEtcd, FindsAHolderWhoMeetsALargerTokenOtherwise) {
  revoking(1 * s, 2 * s);
  fenced_off(3 * s);
  expect_rejected("a larger token");
}

TEST_F(CheckerOverEtcd, FindsALossBeforeEtcdsFault) {
  sure(1, 0, 10, 1, 20 * s);
  lost(deed_kind::ask, 1, 1 * s);
  revoking(2 * s, 3 * s);
  expect_rejected("lost without a reason");
}

TEST_F(CheckerOverEtcd, FindsALostUpdate) {
  deed& first = add(deed_kind::change, 1, 10, 60);
  first.written = 7;
  deed& second = add(deed_kind::change, 2, 30, 40);
  second.written = 3;
  expect_rejected("not linearisable");
}

}  // namespace
}  // namespace lockbyfile::torture
