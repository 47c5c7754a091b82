// SPDX-License-Identifier: Apache-2.0
//
// The four demos. Each plays in a current directory of its own, as a single-threaded process. It
// returns whether its claims held.
#pragma once

#include <chrono>
#include <cstddef>

namespace lockbyfile::demo {

enum class verdict { held, failed };

/// The inner workings of FLock, step by step, as the testFLocks of 2015.
verdict inner();

struct sleepers_options {
  double pace = 1;  // 1: the times of 2015; 0.25: four times as fast
};

/// 4 processes share one narrow bed, and one of them forgets to unlock.
verdict sleepers(const sleepers_options& options);

struct hammer_options {
  std::size_t consumers = 300;
  std::chrono::milliseconds nap{50};
};

/// Hundreds of processes want one lock; their end times prove that none overlapped.
verdict hammer(const hammer_options& options);

struct counter_options {
  std::size_t processes = 8;
  std::size_t steps = 500;  // of each process
};

/// Read-modify-write steps on an SQLite database, without the lock and with it.
verdict counter(const counter_options& options);

}  // namespace lockbyfile::demo
