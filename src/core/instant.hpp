// SPDX-License-Identifier: Apache-2.0
//
// Instants and deadlines: nanoseconds of CLOCK_MONOTONIC, the one clock of every
// process of a running kernel. Inside the library a wait ends at an instant;
// durations exist only at the edge. Sums saturate: nothing ever wraps.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include "linux/system_calls.hpp"

namespace lockbyfile {

using instant = std::uint64_t;

inline constexpr instant never = std::numeric_limits<instant>::max();

inline constexpr instant milliseconds(std::uint64_t n) { return n * 1'000'000; }

inline instant from_timespec(const struct timespec& t) noexcept {
  return static_cast<instant>(t.tv_sec) * 1'000'000'000 + static_cast<instant>(t.tv_nsec);
}

inline instant read_clock(clockid_t clock) noexcept {
  struct timespec t {};
  sys.clock_gettime(clock, &t);
  return from_timespec(t);
}

inline instant now() noexcept { return read_clock(CLOCK_MONOTONIC); }

inline struct timespec to_timespec(instant t) noexcept {
  struct timespec result {};
  result.tv_sec = static_cast<time_t>(t / 1'000'000'000);
  result.tv_nsec = static_cast<long>(t % 1'000'000'000);
  return result;
}

/// Microseconds since 1970 by the wall clock, which may be set at any time.
inline std::uint64_t wall_clock_us() noexcept { return read_clock(CLOCK_REALTIME) / 1000; }

/// Behind now() by up to a tick of the kernel, seldom by more. Four times as cheap.
inline instant now_coarse() noexcept { return read_clock(CLOCK_MONOTONIC_COARSE); }

/// How far the coarse clock is assumed to be behind. A tick is at most 10 ms (CONFIG_HZ=100). But
/// the processor that keeps the time may stand still, if it is a virtual one whose host runs
/// another (17 ms were seen, with ticks of 4 ms). The next processor takes over only after five
/// ticks (MAX_STALLED_JIFFIES in Linux, kernel/time/tick-sched.c).
inline constexpr instant longest_lag = milliseconds(100);

/// `from` + `d`, where the longest duration means never and a negative one `from`.
inline constexpr instant after(instant from, std::chrono::nanoseconds d) noexcept {
  if (d == std::chrono::nanoseconds::max()) return never;
  const auto n = static_cast<instant>(d.count() < 0 ? 0 : d.count());
  return from > never - 1 - n ? never - 1 : from + n;
}

/// Time from `from` to `to`, at least zero; the longest duration if `to` is never.
inline constexpr std::chrono::nanoseconds between(instant from, instant to) noexcept {
  using std::chrono::nanoseconds;
  if (to == never) return nanoseconds::max();
  if (to <= from) return nanoseconds(0);
  constexpr auto most = static_cast<instant>(nanoseconds::max().count() - 1);
  return nanoseconds(static_cast<nanoseconds::rep>(to - from < most ? to - from : most));
}

}  // namespace lockbyfile
