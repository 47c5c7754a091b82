// SPDX-License-Identifier: Apache-2.0
//
// Processes that want the lock at the same time.
//
//   handoff     from a release in one process to the return of acquire in another
//   throughput  all processes loop over an empty critical section
//   fairness    all processes loop over a busy one: how much each gets
#pragma once

#include <algorithm>
#include <array>
#include <iterator>

#include "crew.hpp"
#include "round.hpp"
#include "support/shared_memory.hpp"

namespace bench {

inline constexpr int most_processes = 1024;
inline constexpr int most_grants = 100'000;

/// After its release a process asks again only when another process has been granted the lock. So
/// each grant comes from a handoff, with every kind of lock.
template <class Lock>
findings handoff(const options& o) {
  struct page {
    section inside;
    start_line start;
    std::atomic<int> grants;
    std::atomic<instant> released;
    std::array<double, most_grants> handoff_us{};
    std::array<std::atomic<instant>, most_processes> longest_wait;
  };
  const int size = std::min(o.count("processes"), most_processes - 1);
  const int warm_up = 2 * size;
  const int grants = std::min(o.count("grants") + warm_up, most_grants);
  const instant hold = o.nanoseconds("hold_us", 1e3);

  const scratch here;
  const Lock first(here.path());
  const shared_memory<page> shared;
  crew all(size, [&](int who) {
    Lock lock(here.path());
    instant longest_wait = 0;
    shared->start.ready_and_wait();
    for (;;) {
      const instant asked = now();
      lock.acquire();
      const instant granted = now();
      shared->inside.enter(who);
      const int grant = shared->grants.load(std::memory_order_relaxed);
      const bool is_last = grant >= grants;
      if (!is_last) {
        if (grant >= warm_up) {
          longest_wait = std::max(longest_wait, granted - asked);
          // A process that asked only after the release found the lock open: this was no handoff.
          shared->handoff_us[static_cast<std::size_t>(grant)] =
              asked < shared->released ? static_cast<double>(granted - shared->released) / 1e3 : -1;
        }
        shared->grants.store(grant + 1, std::memory_order_relaxed);
        work_until(granted + hold);
      }
      shared->inside.leave(who);
      shared->released = now();
      lock.release();
      if (is_last || grant + 1 >= grants) break;
      while (shared->grants.load(std::memory_order_relaxed) == grant + 1) nap_us(20);
    }
    shared->longest_wait[static_cast<std::size_t>(who)] = longest_wait;
  });
  shared->start.start_when_ready(size);
  all.join();

  findings found;
  std::vector<double> handoff_us;
  std::copy_if(shared->handoff_us.begin() + warm_up, shared->handoff_us.begin() + grants,
               std::back_inserter(handoff_us), [](double us) { return us >= 0; });
  add_samples(found, "us", std::move(handoff_us));
  const auto longest = std::max_element(shared->longest_wait.begin(), shared->longest_wait.end());
  found.figures["worst_wait_us"] = static_cast<double>(*longest) / 1e3;
  found.overlaps = shared->inside.overlaps();
  return found;
}

/// All processes loop for the given time, with holds of the given length.
template <class Lock>
findings loop(const options& o, instant hold) {
  struct page {
    section inside;
    start_line start;
    std::atomic<bool> is_over;
    std::array<std::atomic<std::uint64_t>, most_processes> grants;
  };
  const int size = std::min(o.count("processes"), most_processes - 1);
  const scratch here;
  const Lock first(here.path());
  const shared_memory<page> shared;
  crew all(size, [&](int who) {
    Lock lock(here.path());
    std::uint64_t grants = 0;
    shared->start.ready_and_wait();
    for (; !shared->is_over.load(std::memory_order_relaxed); ++grants) {
      lock.acquire();
      shared->inside.enter(who);
      if (hold > 0) work_until(now() + hold);
      shared->inside.leave(who);
      lock.release();
    }
    shared->grants[static_cast<std::size_t>(who)] = grants;
  });
  shared->start.start_when_ready(size);
  const instant begun = now();
  nap_us(static_cast<int>(o.number("seconds") * 1e6));
  shared->is_over = true;
  const instant ended = now();
  all.join();

  findings found;
  const auto* const mine = shared->grants.begin() + 1;
  const auto [least, most] = std::minmax_element(mine, mine + size);
  std::uint64_t sum = 0;
  for (int i = 0; i < size; ++i) sum += mine[i];
  found.figures["grants_per_s"] =
      static_cast<double>(sum) * 1e9 / static_cast<double>(ended - begun);
  found.figures["least_to_most"] = static_cast<double>(*least) / static_cast<double>(*most);
  found.overlaps = shared->inside.overlaps();
  return found;
}

template <class Lock>
findings throughput(const options& o) {
  return loop<Lock>(o, 0);
}

template <class Lock>
findings fairness(const options& o) {
  return loop<Lock>(o, o.nanoseconds("hold_us", 1e3));
}

}  // namespace bench
