// SPDX-License-Identifier: Apache-2.0
//
// The handoff: from the release in one process to the grant in another, which
// sleeps until then. The time of each is the mean; the counter is the median.
#include <benchmark/benchmark.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "contenders.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;
using monotonic = std::chrono::steady_clock;

struct rounds {
  std::atomic<int> asked;    // the parent asks the child to line up
  std::atomic<int> waiting;  // the child is about to acquire
  std::atomic<int> done;     // the child has had the lock, since:
  std::atomic<monotonic::rep> granted;
};

void wait_until(const std::atomic<int>& is, int round) {
  while (is != round) std::this_thread::yield();
}

template <class Lock>
[[noreturn]] void take_each_round(rounds& r) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Lock lock;
  for (int round = 1;; ++round) {
    wait_until(r.asked, round);
    r.waiting = round;
    lock.acquire();
    r.granted = monotonic::now().time_since_epoch().count();
    lock.release();
    r.done = round;
  }
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Each round the child goes to sleep on the lock that we hold; then we release it.
template <class Lock>
void handoff(benchmark::State& state) {
  auto& r = shared<rounds>();
  Lock lock;
  lock.acquire();
  const pid_t child = ::fork();
  if (child == 0) take_each_round<Lock>(r);

  int round = 0;
  std::vector<double> seconds;
  for (auto _ : state) {
    r.asked = ++round;
    wait_until(r.waiting, round);
    std::this_thread::sleep_for(200us);  // until it sleeps
    const auto released = monotonic::now().time_since_epoch().count();
    lock.release();
    wait_until(r.done, round);
    seconds.push_back(static_cast<double>(r.granted - released) / 1e9);
    state.SetIterationTime(seconds.back());
    lock.acquire();
  }
  state.counters["median"] = median_of(seconds);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  lock.release();
}
BENCHMARK_TEMPLATE(handoff, without_lease)->UseManualTime()->Iterations(2000);
BENCHMARK_TEMPLATE(handoff, lease_of_10s)->UseManualTime()->Iterations(2000);
BENCHMARK_TEMPLATE(handoff, robust_mutex)->UseManualTime()->Iterations(2000);
BENCHMARK_TEMPLATE(handoff, flock_2)->UseManualTime()->Iterations(2000);

}  // namespace
}  // namespace bench
