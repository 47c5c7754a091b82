// SPDX-License-Identifier: Apache-2.0
//
// line: the cost of a long wait queue while it waits, and how fast it drains.
#pragma once

#include <time.h>

#include "crew.hpp"
#include "round.hpp"
#include "support/shared_memory.hpp"
#include "together.hpp"

namespace bench {

/// Processor time that the process has used, ns.
inline instant processor_time(pid_t pid) {
  clockid_t its_clock{};
  struct timespec t {};
  if (::clock_getcpuclockid(pid, &its_clock) != 0 || ::clock_gettime(its_clock, &t) != 0) {
    throw std::runtime_error("a process that waits is gone");
  }
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

template <class Lock>
findings line(const options& o) {
  struct page {
    section inside;
    std::atomic<int> asking;
    std::atomic<instant> last_grant;
    start_line end;  // a process that ends keeps a processor busy
  };
  const int waiters = o.count("waiters");
  const scratch here;
  const shared_memory<page> shared;
  Lock lock(here.path());
  lock.acquire();
  crew all(waiters, [&](int who) {
    Lock mine(here.path());
    shared->asking.fetch_add(1);
    mine.acquire();
    shared->inside.enter(who);
    shared->last_grant = now();
    shared->inside.leave(who);
    mine.release();
    shared->end.ready_and_wait();
  });
  while (shared->asking < waiters) nap_us(1000);
  nap_us(500'000);  // until they sleep
  const auto used = [&] {
    instant sum = 0;
    for (const pid_t pid : all.pids()) sum += processor_time(pid);
    return static_cast<double>(sum);
  };
  const double before = used();
  const instant begun = now();
  nap_us(static_cast<int>(o.number("seconds") * 1e6));
  const double after = used();
  const auto passed = static_cast<double>(now() - begun);
  const instant released = now();
  lock.release();
  shared->end.start_when_ready(waiters);
  all.join();

  findings found;
  const double drain_us = static_cast<double>(shared->last_grant - released) / 1e3;
  found.figures["cpu_percent"] = 100 * (after - before) / passed;
  found.figures["drain_ms"] = drain_us / 1e3;
  options pair;
  for (const char* setting : {"processes=2", "hold_us=100", "grants=2000"}) pair.set(setting);
  found.figures["handoffs"] = drain_us / waiters / handoff<Lock>(pair).figures.at("p50_us");
  found.overlaps = shared->inside.overlaps();
  return found;
}

}  // namespace bench
