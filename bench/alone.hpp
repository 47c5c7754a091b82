// SPDX-License-Identifier: Apache-2.0
//
// uncontended: acquire and release by a process that meets nobody.
#pragma once

#include "crew.hpp"
#include "round.hpp"

namespace bench {

template <class Lock>
findings uncontended(const options& o) {
  constexpr int batch = 200;
  const scratch here;
  Lock lock(here.path());
  section inside;
  findings found;
  std::vector<double> ns;
  for (const instant end = now() + o.nanoseconds("seconds", 1e9); now() < end;) {
    const instant begun = now();
    for (int i = 0; i < batch; ++i) {
      lock.acquire();
      inside.enter(1);
      inside.leave(1);
      lock.release();
    }
    ns.push_back(static_cast<double>(now() - begun) / batch);
  }
  found.figures["grants"] = static_cast<double>(ns.size() * batch);
  found.figures["ns"] = percentile(std::move(ns), 50);
  found.overlaps = inside.overlaps();
  return found;
}

}  // namespace bench
