// SPDX-License-Identifier: Apache-2.0
//
// Sums of instants and durations saturate: nothing ever wraps. TORTURE 33
#include "core/instant.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <lockbyfile/options.hpp>

namespace lockbyfile {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

TEST(Instant, AfterAddsTheDuration) {
  EXPECT_EQ(after(1000, 1ns), 1001U);
  EXPECT_EQ(after(0, 1s), 1'000'000'000U);
  EXPECT_EQ(after(5, 0ns), 5U);
}

TEST(Instant, TheLongestDurationMeansNever) {
  EXPECT_EQ(after(0, forever), never);
  EXPECT_EQ(after(never - 5, no_lease), never);
}

TEST(Instant, ANegativeDurationIsZero) {
  EXPECT_EQ(after(1000, -1ns), 1000U);
  EXPECT_EQ(after(1000, nanoseconds::min()), 1000U);
}

TEST(Instant, AfterSaturatesBeforeNever) {
  constexpr nanoseconds longest_but_one = nanoseconds::max() - 1ns;
  EXPECT_EQ(after(never - 1, 1ns), never - 1);
  EXPECT_EQ(after(never - 10, longest_but_one), never - 1) << "no wrap, and not never";
  EXPECT_EQ(after(never - 1 - 7, 7ns), never - 1);
  EXPECT_EQ(after(never - 1 - 7, 6ns), never - 2);
  EXPECT_LT(after(0, longest_but_one), never);
}

TEST(Instant, BetweenIsAtLeastZero) {
  EXPECT_EQ(between(10, 15), 5ns);
  EXPECT_EQ(between(15, 10), 0ns);
  EXPECT_EQ(between(10, 10), 0ns);
  EXPECT_EQ(between(never - 1, 0), 0ns);
}

TEST(Instant, BetweenSaturatesAndNeverIsForever) {
  EXPECT_EQ(between(5, never), nanoseconds::max());
  EXPECT_LT(between(0, never - 1), nanoseconds::max()) << "a very long lease is not none";
  EXPECT_GT(between(0, never - 1), 0ns);
}

TEST(Instant, AHundredYearsAreExact) {
  constexpr nanoseconds century = std::chrono::hours(24) * 365 * 100;
  const instant now_then = 123'456'789;
  EXPECT_EQ(between(now_then, after(now_then, century)), century);
}

TEST(Instant, TimespecHoldsTheSameInstant) {
  for (const instant t : {instant{0}, instant{999'999'999}, instant{1'000'000'000},
                          instant{86'400'123'456'789}, never}) {
    const auto spec = to_timespec(t);
    EXPECT_GE(spec.tv_nsec, 0);
    EXPECT_LT(spec.tv_nsec, 1'000'000'000);
    EXPECT_EQ(
        static_cast<instant>(spec.tv_sec) * 1'000'000'000 + static_cast<instant>(spec.tv_nsec), t);
  }
}

TEST(Instant, TheCoarseClockIsNotAheadAndBehindByNoMoreThanItsLag) {
  for (int i = 0; i < 1000; ++i) {
    const instant before = now();
    const instant coarse = now_coarse();
    ASSERT_LE(coarse, now());
    ASSERT_LE(before, coarse + longest_lag);
  }
}

}  // namespace
}  // namespace lockbyfile
