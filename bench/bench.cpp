// SPDX-License-Identifier: Apache-2.0
//
// What the lock costs a process that meets nobody: acquire and release, beside
// what people use in its place; a refused try; opening a known name; a look.
#include <benchmark/benchmark.h>

#include <lockbyfile/lockbyfile.hpp>

#include "contenders.hpp"

namespace bench {
namespace {

template <class Lock>
void acquire_release(benchmark::State& state) {
  Lock lock;
  for (auto _ : state) {
    lock.acquire();
    lock.release();
  }
}
BENCHMARK_TEMPLATE(acquire_release, without_lease);
BENCHMARK_TEMPLATE(acquire_release, lease_of_10s);
BENCHMARK_TEMPLATE(acquire_release, robust_mutex);
BENCHMARK_TEMPLATE(acquire_release, flock_2);
BENCHMARK_TEMPLATE(acquire_release, create_and_unlink);

void try_lock_on_a_held_lock(benchmark::State& state) {
  lease_of_10s holder;
  without_lease other;
  holder.acquire();
  for (auto _ : state) benchmark::DoNotOptimize(other.lock.try_lock());
}
BENCHMARK(try_lock_on_a_held_lock)->Iterations(1'000'000);  // well within the lease

void renew(benchmark::State& state) {
  lease_of_10s holder;
  holder.acquire();
  for (auto _ : state) holder.lock.renew();
}
BENCHMARK(renew);

void open_and_close_a_known_name(benchmark::State& state) {
  const without_lease made;
  for (auto _ : state) {
    const without_lease again;
    benchmark::DoNotOptimize(&again);
  }
}
BENCHMARK(open_and_close_a_known_name);

void look_at_a_held_lock(benchmark::State& state) {
  without_lease holder;
  holder.acquire();
  for (auto _ : state) benchmark::DoNotOptimize(lockbyfile::observe(holder.lock.path()));
}
BENCHMARK(look_at_a_held_lock);

}  // namespace
}  // namespace bench
