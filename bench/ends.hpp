// SPDX-License-Identifier: Apache-2.0
//
// Grants that do not end by release.
//
//   death      from the SIGKILL of the holder to the grant of the waiter
//   lease_end  from the end of the lease of a living holder to the grant of the waiter
#pragma once

#include <signal.h>

#include <random>

#include "contenders.hpp"
#include "crew.hpp"
#include "round.hpp"
#include "support/child.hpp"
#include "support/shared_memory.hpp"

namespace bench {

template <class Lock>
findings death(const options& o) {
  const scratch here;
  Lock lock(here.path());
  const shared_memory<std::atomic<instant>> killed;
  std::minstd_rand random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same in each round
  std::vector<double> ms;
  for (int round = o.count("rounds"); round > 0; --round) {
    const int after_us = 6000 + static_cast<int>(random() % 10'000);
    child holder([&](talk& t) {
      Lock mine(here.path());
      mine.acquire();
      t.say("held");
      ::pause();
    });
    holder.expect("held");
    child killer([&](talk& t) {
      t.say("here");
      nap_us(after_us);
      *killed = now();
      holder.signal(SIGKILL);
    });
    killer.expect("here");
    lock.acquire();
    ms.push_back(static_cast<double>(now() - *killed) / 1e6);
    lock.release();
  }
  findings found;
  add_samples(found, "ms", std::move(ms));
  return found;
}

inline findings lease_end(const options& o) {
  const scratch here;
  ours lock(here.path(), lockbyfile::no_lease);
  std::vector<double> ms;
  for (int round = o.count("rounds"); round > 0; --round) {
    child holder([&](talk& t) {
      ours mine(here.path(), std::chrono::milliseconds(20));
      mine.acquire();
      t.say(std::to_string(now() + mine.lock().lease_remaining().count()));
      ::pause();
    });
    const instant ends = std::stoll(holder.hear());
    lock.acquire();
    ms.push_back(static_cast<double>(now() - ends) / 1e6);
    lock.release();
  }
  findings found;
  add_samples(found, "ms", std::move(ms));
  return found;
}

}  // namespace bench
