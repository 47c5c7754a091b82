// SPDX-License-Identifier: Apache-2.0
#include "witnesses.hpp"

#include <sched.h>
#include <time.h>

namespace lockbyfile::torture {

namespace {

constexpr instant worth_recording = microseconds(100);

void sleep_until(instant t) {
  struct timespec until {};
  until.tv_sec = static_cast<time_t>(t / 1'000'000'000);
  until.tv_nsec = static_cast<long>(t % 1'000'000'000);
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

}  // namespace

witnesses::witnesses(history& log) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  for (int p = 0; p < CPU_SETSIZE; ++p) {
    if (CPU_ISSET(p, &allowed)) threads_.emplace_back([this, &log, p] { watch(log, p); });
  }
}

void witnesses::watch(history& log, int processor) const {
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(processor, &here);
  ::sched_setaffinity(0, sizeof here, &here);
  while (!over_) {
    const instant due = now() + milliseconds(1);
    sleep_until(due);
    deed d;
    d.kind = deed_kind::stall;
    d.begin = due;
    if (now() > due + worth_recording) log.note(d);
  }
}

}  // namespace lockbyfile::torture
